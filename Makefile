# Vireo: the only entry. `make help` lists what it does, docs/building.md says more.

ARCH    ?= x86_64
BUILD   ?= build
B       := $(BUILD)/$(ARCH)

.SUFFIXES:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all
MAKEFLAGS += --no-builtin-rules

# V=1 shows the commands.
V ?= 0
Q := $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),,@printf '  %-7s %s\n' '$(1)' '$(2)')

# $(call keep,TEXT) is a recipe for a file that changes only when TEXT does: a prerequisite for what depends on flags or lists.
keep = @mkdir -p $(@D); printf '%s\n' '$(subst ','\'',$(1))' | cmp -s - $@ || printf '%s\n' '$(subst ','\'',$(1))' > $@

# Debian packages, each asked for by the targets that use it: installed when missing, see tools/need.
need = @tools/need '$(1)' $(2)

# ---- parts that a build can leave out: AML=no, the interpreter of ACPI's tables (ACPICA); FDT=no, device trees (libfdt) ----
AML   ?= yes
FDT   ?= yes
PARTS := $(strip $(if $(filter yes,$(AML)),acpica) $(if $(filter yes,$(FDT)),libfdt))
# Debian's linux-source carries both.
LINUX_VERSION := 6.1
LINUX_PARTS   ?= $(BUILD)/linux-$(LINUX_VERSION)

# ---- toolchain ----
# gcc; CC=clang for clang; CROSS_COMPILE=x86_64-elf- or x86_64-linux-gnu- for a cross toolchain. On a host of another architecture
# Debian's cross compiler is the default.
ifneq ($(shell uname -m),$(ARCH))
CROSS_COMPILE ?= $(ARCH)-linux-gnu-
endif
ifeq ($(origin CC),default)
CC := $(CROSS_COMPILE)gcc
endif
TARGET_GCC := $(CROSS_COMPILE)gcc
AR         := $(CROSS_COMPILE)ar
LD         := $(CROSS_COMPILE)ld
NM         := $(CROSS_COMPILE)nm
OBJCOPY    := $(CROSS_COMPILE)objcopy
STRIP      := $(CROSS_COMPILE)strip

ifneq ($(findstring clang,$(notdir $(CC))),)
PACKAGES_CC := clang
CC_TARGET    = --target=$(ARCH)-elf
CC_INCLUDE   = $(shell $(CC) -print-resource-dir)/include
else
PACKAGES_CC := $(if $(filter x86_64-linux-gnu-gcc,$(CC)),$(if $(shell command -v $(CC) 2>/dev/null),,gcc-x86-64-linux-gnu))
CC_TARGET    =
CC_INCLUDE   = $(shell $(CC) -print-file-name=include)
endif
PACKAGES_BUILD := newlib-source xz-utils libc6-dev $(PACKAGES_CC) $(if $(PARTS),linux-source-$(LINUX_VERSION))

# ---- flags ----
WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Werror
INCLUDES := -I. -Ilib -Ilib/include -Iarch/include
LANGUAGE := -std=gnu2x $(INCLUDES)

# Freestanding x86_64. No red zone: a panic would print what it overwrote. The host's headers and its macros stay out.
TARGET = $(CC_TARGET) -m64 -g -fno-pic -fno-pie -fno-common -fno-stack-protector -fcf-protection=none -mno-red-zone \
         -fno-asynchronous-unwind-tables -fno-omit-frame-pointer -ffunction-sections -fdata-sections \
         -U__linux__ -U__linux -Ulinux -U__unix__ -U__unix -Uunix -D_POSIX_TIMERS=1 -D_POSIX_MONOTONIC_CLOCK=1 \
         -nostdinc -Ilib/newlib/include -isystem $(CC_INCLUDE) -isystem $(LIBC) -I$(SEAM)
# For another kernel (make lib): its <impl/*.h>, its string.h and errno.h, its flags.
SEAM ?= arch/$(ARCH)/include
LIBC ?= $(NEWLIB)/include
KERNEL_CFLAGS ?=
# Small code where little time is spent, fast code on the data path.
OPTIMIZE  = -Os
FAST      = -O2 -falign-functions=1 -falign-jumps=1 -falign-loops=1 -falign-labels=1 -Wno-ignored-optimization-argument
DATA_PATH = $(patsubst %,$(B)/%.c.o,arch/$(ARCH)/irq arch/$(ARCH)/lapic virtio/virtq virtio/split virtio/split_turn virtio/packed virtio/packed_turn \
              virtio/burst drivers/block/blk drivers/net/net drivers/net/rx drivers/net/tx \
              lib/class/block lib/class/net lib/event apps/bench apps/bench_net apps/bench_cpus)
# The kernel leaves vector registers alone; programs may use them.
CFLAGS_KERNEL = $(LANGUAGE) $(WARNINGS) $(TARGET) $(OPTIMIZE) -ffreestanding -fbuiltin -mgeneral-regs-only $(KERNEL_CFLAGS)
CFLAGS_APPS   = $(LANGUAGE) $(WARNINGS) $(TARGET) $(OPTIMIZE) -ffreestanding -fbuiltin
CFLAGS_USER   = $(LANGUAGE) -Wall $(TARGET) -O2 $(CFLAGS)

LDFLAGS_IMAGE = -m elf_x86_64 -nostdlib -static --gc-sections -z max-page-size=4096 -z noexecstack --no-warn-execstack --build-id=none
LIBS          = $(PARTS:%=$(B)/%.a) $(NEWLIB)/lib/libm.a $(NEWLIB)/lib/libc.a $(shell $(TARGET_GCC) -print-libgcc-file-name)

# ---- newlib: built once from Debian's sources ----
NEWLIB_VERSION := $(or $(patsubst newlib-%.tar.xz,%,$(notdir $(lastword $(sort $(wildcard /usr/src/newlib/newlib-*.tar.xz))))),3.3.0)
NEWLIB         ?= $(BUILD)/newlib-$(NEWLIB_VERSION)

.PHONY: need-build newlib
need-build:
	$(call need,build,$(PACKAGES_BUILD))
newlib: $(NEWLIB)/done ## build newlib only (what all images need, about two minutes, once)
$(NEWLIB)/done: FORCE | need-build
	$(Q)tools/newlib '$(NEWLIB)' '$(NEWLIB_VERSION)' '$(TARGET_GCC)' '$(CROSS_COMPILE)'

# ---- ACPICA and libfdt: built from what tools/linux-parts takes out of Debian's linux-source, once ----
CFLAGS_PARTS   = -std=gnu11 -w $(TARGET) -Os -ffreestanding -fbuiltin -mgeneral-regs-only $(KERNEL_CFLAGS)
# How ACPICA is set up: no fixed hardware of ACPI, which is ours; a status for each error, no text; its own object caches.
ACPICA_FLAGS  := -D_LINUX -DACPI_REDUCED_HARDWARE=1 -DACPI_NO_ERROR_MESSAGES -DACPI_USE_LOCAL_CACHE -DACPI_PCI_CONFIGURED \
                 -isystem $(LINUX_PARTS)/include
FDT_FLAGS     := -isystem $(LINUX_PARTS)/libfdt
FDT_FILES     := fdt.c fdt_ro.c fdt_addresses.c

$(LINUX_PARTS)/done: FORCE | need-build
	$(Q)tools/linux-parts '$(LINUX_PARTS)' '$(LINUX_VERSION)'
archive = $(Q)$(MAKE) --no-print-directory -f tools/archive.mk -s OUT=$@ CC='$(CC)' AR='$(AR)' FLAGS_FILE='$(B)/flags $(LINUX_PARTS)/done'
$(B)/acpica.a: $(LINUX_PARTS)/done $(B)/flags tools/archive.mk
	$(call say,LIB,$@)
	+$(archive) DIR='$(LINUX_PARTS)/acpica' SKIP="db%.c rsdump%.c utprint.c" CFLAGS='$(CFLAGS_PARTS) $(ACPICA_FLAGS)'
$(B)/libfdt.a: $(LINUX_PARTS)/done $(B)/flags tools/archive.mk
	$(call say,LIB,$@)
	+$(archive) DIR='$(LINUX_PARTS)/libfdt' FILES='$(FDT_FILES)' CFLAGS='$(CFLAGS_PARTS) $(FDT_FLAGS)'

# ---- the image ----
# DRIVERS="blk net": only these, a name being that of a folder in drivers/, or of a file or the first word of files. drivers/bus is always in.
DRIVERS     ?= *
DRIVERS_SRC := $(foreach name,bus $(DRIVERS),$(wildcard drivers/$(name)/*.c drivers/*/$(name).c drivers/*/$(name)_*.c))
KERNEL_SRC = $(filter-out $(call parts_of,$(NO_DRIVERS)),$(sort $(wildcard arch/$(ARCH)/*.[cS] boot/*.[cS] lib/*.c lib/newlib/*.c lib/class/*.c virtio/*.c) $(DRIVERS_SRC) \
              $(if $(filter acpica,$(PARTS)),$(wildcard lib/acpi/*.c)) $(if $(filter libfdt,$(PARTS)),$(wildcard lib/fdt/*.c))))
# The tests and commands of a folder of drivers that is left out are left out with it; and the class of trees, when nobody is left that has or wants some.
NO_DRIVERS := $(filter-out $(notdir $(patsubst %/,%,$(sort $(dir $(DRIVERS_SRC))))),$(notdir $(wildcard drivers/*)))
parts_of    = $(foreach folder,$(1),apps/selftest_$(folder).c apps/shell_$(folder).c) $(if $(filter file,$(1)),$(if $(filter crypto,$(1)),lib/class/file.c))
APPS_SRC   := $(filter-out $(call parts_of,$(NO_DRIVERS)),$(sort $(wildcard apps/*.c)))
KERNEL_OBJ := $(KERNEL_SRC:%=$(B)/%.o)
APPS_OBJ   := $(APPS_SRC:%=$(B)/%.o)
IMAGE_OBJ  := $(KERNEL_OBJ) $(APPS_OBJ)

.PHONY: all size FORCE
all: $(B)/vireo.elf ## the image build/ARCH/vireo.elf, with all programs and drivers, or those of DRIVERS="blk net" (default)

FORCE:

$(B)/flags: FORCE | need-build
	$(call keep,$(CC) $(FAST) $(CFLAGS_KERNEL) $(CFLAGS_APPS) $(LD) $(LDFLAGS_IMAGE))
$(B)/objects: FORCE
	$(call keep,$(IMAGE_OBJ))

$(KERNEL_OBJ): CFLAGS_OBJ = $(CFLAGS_KERNEL)
$(APPS_OBJ): CFLAGS_OBJ = $(CFLAGS_APPS)
$(filter $(B)/lib/acpi/%,$(KERNEL_OBJ)): CFLAGS_OBJ = $(CFLAGS_KERNEL) $(ACPICA_FLAGS)
$(filter $(B)/lib/fdt/%,$(KERNEL_OBJ)): CFLAGS_OBJ = $(CFLAGS_KERNEL) $(FDT_FLAGS)
$(filter $(B)/lib/acpi/% $(B)/lib/fdt/%,$(KERNEL_OBJ)): | $(LINUX_PARTS)/done
$(filter $(DATA_PATH),$(IMAGE_OBJ)): OPTIMIZE = $(FAST)
$(IMAGE_OBJ): $(B)/%.o: % $(B)/flags $(if $(filter file,$(origin LIBC)),$(NEWLIB)/done)
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CFLAGS_OBJ) -MMD -MP -c -o $@ $<

# Two links: backtraces name functions, so the image carries the names that the first link found.
define link_image
	$(call say,LD,$@)
	$(Q)$(LD) $(LDFLAGS_IMAGE) -T linker/$(ARCH).ld -o $@.first $(filter %.o,$^) $(LIBS)
	$(Q)tools/ksyms.sh $(NM) $@.first > $@.symbols.S
	$(Q)$(CC) $(CC_TARGET) -c -o $@.symbols.o $@.symbols.S
	$(Q)$(LD) $(LDFLAGS_IMAGE) -T linker/$(ARCH).ld -Map=$(@:.elf=.map) -o $@ $(filter %.o,$^) $@.symbols.o $(LIBS)
	@rm -f $@.first $@.symbols.S $@.symbols.o
endef

$(B)/vireo.elf: $(IMAGE_OBJ) $(PARTS:%=$(B)/%.a) linker/$(ARCH).ld tools/ksyms.sh $(B)/objects $(B)/flags
	$(link_image)

# What sizes are promised of (tests/system/test_image.py): all drivers without the parts that a build can leave out, and of these the
# drivers of disks, networks, consoles and entropy only, as DRIVERS="blk net console entropy" has them.
PLAIN_OBJ := $(filter-out $(B)/lib/acpi/% $(B)/lib/fdt/%,$(IMAGE_OBJ))
SMALL_OBJ := $(filter-out $(B)/drivers/% $(patsubst %,$(B)/%.o,$(call parts_of,$(filter-out bus block net char,$(notdir $(wildcard drivers/*))))),$(PLAIN_OBJ)) \
             $(filter $(foreach name,bus/ block/blk net/ char/console char/entropy,$(B)/drivers/$(name)%),$(PLAIN_OBJ))
$(B)/vireo.plain.elf: $(PLAIN_OBJ)
$(B)/vireo.small.elf: $(SMALL_OBJ)
$(B)/vireo.plain.elf $(B)/vireo.small.elf: $(PARTS:%=$(B)/%.a) linker/$(ARCH).ld tools/ksyms.sh $(B)/objects $(B)/flags
	$(link_image)

# A bzImage: the setup, then the image as it lies in memory. The same without the setup is a flat binary for loaders that want one.
all: $(B)/vireo.bzImage $(B)/vireo.bin
$(B)/boot/efi_stub.c.o: CFLAGS_OBJ += -fpie
SETUP := $(B)/boot/bzimage/setup
$(SETUP).o: boot/bzimage/setup.S $(B)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CFLAGS_KERNEL) -c -o $@ $<
$(B)/%.bin: $(B)/%.elf
	$(Q)$(OBJCOPY) -O binary $< $@
$(B)/%.bzImage: $(B)/%.elf $(B)/%.bin $(SETUP).o boot/bzimage/setup.ld
	$(call say,LD,$@)
	$(Q)$(LD) -m elf_x86_64 --no-warn-rwx-segments --no-warn-execstack -T boot/bzimage/setup.ld --just-symbols=$< -o $@.setup $(SETUP).o
	$(Q)$(OBJCOPY) -O binary $@.setup $@.front
	$(Q)cat $@.front $(<:.elf=.bin) > $@
	@rm -f $@.setup $@.front

$(B)/%.stripped.elf: $(B)/%.elf
	$(Q)$(STRIP) -o $@ $<

size: $(B)/vireo.stripped.elf ## the size of the stripped image, in bytes, and its largest parts
	@$(NM) --size-sort -S -t d $(B)/vireo.elf | tail -n 20
	@wc -c < $<

-include $(IMAGE_OBJ:.o=.d)

# ---- a program of your own: make app SRC="hello.c more.c" [NAME=hello] [CFLAGS=...] ----
# Links main() of SRC with all of Vireo into build/ARCH/NAME.elf. It runs by default; NAME.args="..." on the kernel command line are
# its arguments. `make run SRC=...` builds and boots it.
ifdef SRC
NAME    ?= $(subst -,_,$(basename $(notdir $(firstword $(SRC)))))
APP     ?= $(NAME)
IMAGE   := $(B)/$(NAME).elf
USER_B  := $(B)/programs/$(NAME)
user_obj = $(USER_B)/$(subst /,_,$(abspath $(1))).o
USER_OBJ := $(USER_B)/start.o $(foreach src,$(SRC),$(call user_obj,$(src)))

$(USER_B)/flags: FORCE | need-build
	$(call keep,$(CC) $(CFLAGS_USER) $(SRC))
$(USER_B)/start.o: lib/newlib/program/start.c $(USER_B)/flags $(B)/flags $(NEWLIB)/done
	$(Q)$(CC) $(CFLAGS_APPS) -DPROGRAM_NAME=$(NAME) -MMD -MP -c -o $@ $<
define user_rule
$(call user_obj,$(1)): $(1) $(USER_B)/flags $(NEWLIB)/done
	$$(call say,CC,$(1))
	$(Q)$$(CC) $$(CFLAGS_USER) -MMD -MP -c -o $$@ $$<
endef
$(foreach src,$(SRC),$(eval $(call user_rule,$(src))))

$(IMAGE): $(IMAGE_OBJ) $(PARTS:%=$(B)/%.a) $(USER_OBJ) linker/$(ARCH).ld tools/ksyms.sh $(B)/objects $(B)/flags
	$(link_image)
-include $(USER_OBJ:.o=.d)
endif
IMAGE ?= $(B)/vireo.elf

.PHONY: app
app: ## your program as an image: make app SRC="hello.c more.c" [NAME=hello] [CFLAGS=...]
	$(if $(SRC),,$(error make app wants SRC="hello.c ..."))
	@$(MAKE) --no-print-directory $(IMAGE)
	@echo "$(IMAGE) runs $(NAME) by default; boot it with: make run SRC=\"$(SRC)\""

# ---- the core and the drivers as a library for other kernels: docs/adopting.md ----
# What asks ACPI's namespace and device trees, and carries the kernel's log, is our kernel's: another one has its own.
LIB_SRC := $(filter-out lib/class/carry.c drivers/bus/acpi.c drivers/bus/fdt.c drivers/bus/fw_cfg.c drivers/bus/pci_firmware.c,$(sort $(wildcard virtio/*.c drivers/*/*.c lib/class/*.c)))
LIB_API := $(wildcard virtio/virtio.h virtio/virtq.h virtio/request.h virtio/call.h virtio/transport.h lib/class/*.h drivers/bus/mmio.h drivers/bus/pci.h)

.PHONY: lib
lib: $(B)/libvireo.a ## the library build/ARCH/libvireo.a for other kernels: [SEAM=dir] [LIBC=dir] [KERNEL_CFLAGS=...], see docs/adopting.md
$(B)/libvireo.a: $(LIB_SRC:%=$(B)/%.o) $(LIB_API) tools/library docs/adopting.md $(B)/objects
	$(call say,LIB,$@)
	$(Q)tools/library '$(CROSS_COMPILE)' $@ docs/adopting.md $(SEAM) $(filter %.o,$^) -- $(LIB_API)

# ---- images that boot by themselves, by GRUB in BIOS and EFI machines ----
PACKAGES_IMAGE := python3 grub-common grub-pc-bin grub-efi-amd64-bin xorriso mtools qemu-utils
.PHONY: image need-image
need-image:
	$(call need,make images,$(PACKAGES_IMAGE))
image: $(IMAGE:.elf=.bzImage) $(IMAGE:.elf=.stripped.elf) need-image ## an ISO, disks (raw, qcow2) and a libvirt domain that boot it: [CMDLINE="..."] [SRC=...]
	@tools/image $(IMAGE:.elf=.stripped.elf) $< $(IMAGE:.elf=) --words "$$CMDLINE"
	@ls -l $(foreach kind,iso img qcow2 xml,$(IMAGE:.elf=.$(kind)))
image: export CMDLINE := $(CMDLINE)

# ---- run ----
QEMU ?= qemu-system-$(ARCH)
PACKAGES_QEMU := $(if $(filter qemu-system-x86_64,$(QEMU)),qemu-system-x86 qemu-system-data seabios)

.PHONY: run need-run
need-run:
	$(call need,boot,$(PACKAGES_QEMU))
run: $(IMAGE) need-run ## boot it: [MACHINE=q35|pc|microvm] [APP=shell|selftest|bench] [SMP=1] [MEM=256M] [QEMU=...] [CMDLINE="..."] [ARGS="..."]
	@tools/run
run: export MACHINE := $(MACHINE)
run: export APP := $(APP)
run: export SMP := $(SMP)
run: export MEM := $(MEM)
run: export CMDLINE := $(CMDLINE)
run: export ARGS := $(ARGS)
run: export IMAGE := $(IMAGE)
run: export RUN_DIR := $(BUILD)/run
export QEMU

# ---- host tests: the real sources on this machine, against arch/host and a software device, under sanitizers ----
# HOST_KIND: test (ASan and UBSan), coverage (gcov), fuzz (clang's libFuzzer), tsan (threads): each has objects of its own.
HOST_KIND ?= test
HOST_CC   ?= $(if $(filter fuzz,$(HOST_KIND)),clang,gcc)
H         := $(BUILD)/host/$(HOST_KIND)
HOST_FLAGS_test     := -O1 -fsanitize=address,undefined -fno-sanitize-recover=all
HOST_FLAGS_coverage := -O0 --coverage -Wno-conversion
HOST_FLAGS_fuzz     := -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
HOST_FLAGS_tsan     := -O2 -fsanitize=thread -Wno-tsan -include arch/host/include/tsan.h
HOST_FLAGS   = $(LANGUAGE) $(WARNINGS) -g -fno-omit-frame-pointer -pthread -D_GNU_SOURCE -Iarch/host/include -Itests/host \
               $(FDT_FLAGS) $(HOST_FLAGS_$(HOST_KIND))
HOST_SRC    := $(sort $(filter-out boot/efi_stub.c,$(wildcard boot/*.c)) $(wildcard lib/*.c lib/class/*.c virtio/*.c drivers/*/*.c arch/host/*.c apps/tone.c apps/zone_trial.c) \
               $(filter-out $(wildcard tests/host/test_*.c),$(wildcard tests/host/*.c)))
HOST_TESTS  := $(sort $(wildcard tests/host/test_*.c))
# libfdt: what the image has of it, and what makes trees.
HOST_FDT    := $(if $(filter libfdt,$(PARTS)),$(patsubst %.c,$(H)/libfdt/%.o,$(FDT_FILES) fdt_sw.c fdt_rw.c fdt_wip.c))
HOST_WITHOUT := $(if $(HOST_FDT),,%/trees.c %/test_dt.c %/fuzz_dt.c)
# Parts of arch/x86_64 against a forged CPU, on hosts that can compile them.
ifneq ($(shell uname -m),x86_64)
HOST_WITHOUT += %/fuzz_x86.c %/test_x86_apic.c %/test_x86_clock.c %/test_x86_tables.c
endif
HOST_SRC    := $(filter-out $(HOST_WITHOUT),$(HOST_SRC)) $(if $(HOST_FDT),lib/fdt/dt.c)
HOST_TESTS  := $(filter-out $(HOST_WITHOUT),$(HOST_TESTS))
ifeq ($(HOST_KIND),tsan)
HOST_SRC    := $(filter-out boot/% lib/main.c drivers/block/% drivers/net/% drivers/char/% tests/%,$(HOST_SRC)) tests/host/threaded.c tests/host/swdev_echo.c
HOST_TESTS  := tests/host/test_threads.c tests/host/test_cpus.c tests/host/test_block_cpus.c
endif
HOST_FUZZ   := $(filter-out $(HOST_WITHOUT),$(sort $(wildcard tests/fuzz/fuzz_*.c)))
HOST_OBJ    := $(HOST_SRC:%=$(H)/%.o)
FUZZ_OBJ    := $(patsubst %,$(H)/%.o,$(filter-out $(wildcard tests/fuzz/fuzz_*.c),$(sort $(wildcard tests/fuzz/*.c))))
$(H)/boot/%.o: HOST_FLAGS += -Dkernel_main=boot_done
HOST_ALL    := $(HOST_OBJ) $(HOST_TESTS:%=$(H)/%.o) $(HOST_FUZZ:%=$(H)/%.o) $(FUZZ_OBJ)
HOST_BIN    := $(HOST_TESTS:tests/host/%.c=$(H)/%)
FUZZ_BIN    := $(HOST_FUZZ:tests/fuzz/%.c=$(H)/%)

.PHONY: need-host test test-full test-host test-system conformance
need-host:
	$(call need,build the host tests,libc6-dev libcmocka-dev)
$(H)/flags: FORCE
	$(call keep,$(HOST_CC) $(HOST_FLAGS))
$(H)/objects: FORCE
	$(call keep,$(HOST_OBJ))
$(HOST_ALL): $(H)/%.o: % $(H)/flags | need-host
	@mkdir -p $(@D)
	$(call say,HOSTCC,$<)
	$(Q)$(HOST_CC) $(HOST_FLAGS) -MMD -MP -c -o $@ $<
$(HOST_FDT): $(H)/libfdt/%.o: $(LINUX_PARTS)/done $(H)/flags
	@mkdir -p $(@D)
	$(Q)$(HOST_CC) -w $(filter-out -W%,$(HOST_FLAGS)) -c -o $@ $(LINUX_PARTS)/libfdt/$*.c
$(H)/lib/fdt/dt.c.o $(H)/tests/host/trees.c.o: | $(LINUX_PARTS)/done
$(HOST_BIN): $(H)/%: $(H)/tests/host/%.c.o $(HOST_OBJ) $(HOST_FDT) $(H)/objects
	$(call say,HOSTLD,$@)
	$(Q)$(HOST_CC) $(HOST_FLAGS) -o $@ $(filter %.o,$^) -lcmocka
$(H)/test_fuzz_regress: $(HOST_FUZZ:%=$(H)/%.o) $(FUZZ_OBJ)
$(FUZZ_BIN): $(H)/%: $(H)/tests/fuzz/%.c.o $(FUZZ_OBJ) $(HOST_OBJ) $(HOST_FDT) $(H)/objects
	$(call say,HOSTLD,$@)
	$(Q)$(HOST_CC) $(HOST_FLAGS) -fsanitize=fuzzer -o $@ $(filter %.o,$^) -lcmocka
-include $(HOST_ALL:.o=.d)

# The library in a kernel that is not ours: tests/host/adopt has the seam, and test_adopt.c.
ADOPT_DIR   := tests/host/adopt
ADOPT_FLAGS  = $(patsubst -Iarch/host/include,-I$(ADOPT_DIR),$(HOST_FLAGS))
ADOPT_LIB   := $(LIB_SRC:%=$(H)/adopt/%.o)
ADOPT_OBJ   := $(patsubst %,$(H)/adopt/%.o,$(wildcard $(ADOPT_DIR)/*.c))
$(ADOPT_LIB) $(ADOPT_OBJ): $(H)/adopt/%.o: % $(H)/flags | need-host
	@mkdir -p $(@D)
	$(call say,HOSTCC,$< (adopt))
	$(Q)$(HOST_CC) $(ADOPT_FLAGS) -MMD -MP -c -o $@ $<
$(H)/adopt/libvireo.a: $(ADOPT_LIB) $(LIB_API) tools/library docs/adopting.md $(H)/objects
	$(call say,LIB,$@)
	$(Q)tools/library '' $@ docs/adopting.md $(ADOPT_DIR) $(filter %.o,$^) -- $(LIB_API)
$(H)/test_adopt: $(ADOPT_OBJ) $(H)/adopt/libvireo.a
	$(call say,HOSTLD,$@)
	$(Q)$(HOST_CC) $(ADOPT_FLAGS) -Wl,--gc-sections -o $@ $^ -lcmocka
-include $(ADOPT_LIB:.o=.d) $(ADOPT_OBJ:.o=.d)

# ---- test ----
test: ## host tests and system tests; the last line counts both
	@rm -f $(BUILD)/host/test/count $(BUILD)/system/count
	@$(MAKE) --no-print-directory test-host || true
	@$(MAKE) --no-print-directory test-system || true
	@tools/test-sum $(BUILD)/host/test/count $(BUILD)/system/count

test-full: ## the same with all combinations of the system tests, not only a selection
	@$(MAKE) --no-print-directory test PYTEST='-m "" $(PYTEST)'

ifeq ($(HOST_KIND),test)
TSAN_BIN  := $(addprefix $(BUILD)/host/tsan/,test_threads test_cpus test_block_cpus)
HOST_MORE := $(H)/test_adopt $(TSAN_BIN)
.PHONY: tsan-bin
tsan-bin:
	@$(MAKE) --no-print-directory HOST_KIND=tsan $(TSAN_BIN)
$(TSAN_BIN): tsan-bin ;
endif
test-host: $(HOST_BIN) $(HOST_MORE) ## host tests: every test runs, failures are summed up
	@tools/test-host $(H) $^

RING_BUFFERS ?= 10000000
.PHONY: tsan
tsan: ## the rings against a device on another thread, CPUs against each other, under the thread sanitizer: RING_BUFFERS=10000000 for each variant
	@RING_BUFFERS=$(RING_BUFFERS) TIMEOUT=3600 $(MAKE) --no-print-directory test-host HOST_KIND=tsan
	@cat $(BUILD)/host/tsan/test_threads.log

# What takes the firmware's place where a test loads the image by itself.
$(B)/tests/loader.bin: tests/system/loader.S | need-build
	@mkdir -p $(@D)
	$(Q)$(CC) $(CC_TARGET) -m32 -c -o $@.o $<
	$(Q)$(LD) -m elf_i386 -Ttext=0xffff0000 -e start --oformat binary -o $@ $@.o

test-system: $(B)/vireo.elf $(B)/vireo.plain.elf $(B)/vireo.small.elf $(B)/vireo.bzImage $(B)/vireo.bin $(B)/tests/loader.bin need-run ## boot the image in a VMM (QEMU=...) and check its effects from outside; PYTEST="-k blk" selects
	$(call need,run the system tests,python3-pytest python3-pytest-xdist ovmf acpica-tools openssl lz4 $(PACKAGES_IMAGE))
	@VIREO_IMAGE=$(abspath $(B)/vireo.elf) tools/test-system $(BUILD)/system -n 2 $(PYTEST)

.PHONY: boots devices
boots: ## write docs/boots.md: what the last system tests booted how, and what was seen
	$(call need,write the table of boots,python3)
	@tools/boots $(BUILD) docs/boots.md

devices: $(B)/vireo.elf ## write README's table of devices: what the image registers, and what the last `make test` showed of it
	$(call need,write the table of devices,python3)
	@tools/devices $(BUILD)

conformance: ## the driver requirements of virtio 1.4 by area, and whether the last `make test` shows those that are kept
	$(call need,check the conformance tables,python3)
	@tools/conformance $(BUILD)

.PHONY: coverage fuzz
coverage: ## line and branch coverage from the host tests; fails where virtio/ has less than 95 and 90 percent, see docs/coverage.md
	$(call need,measure coverage,gcovr)
	@find $(BUILD)/host/coverage -name '*.gcda' -delete 2>/dev/null || true
	@$(MAKE) --no-print-directory test-host HOST_KIND=coverage
	@gcovr $(GCOVR) -f virtio/ -f drivers/ -f lib/ --json $(BUILD)/host/coverage/all.json $(BUILD)/host/coverage
	@gcovr -r . -a $(BUILD)/host/coverage/all.json -f drivers/ -f lib/
	@gcovr -r . -a $(BUILD)/host/coverage/all.json -f virtio/ -s --fail-under-line 95 --fail-under-branch 90
GCOVR = -r . --object-directory $(BUILD)/host/coverage --exclude-unreachable-branches

# ---- bench: tests/bench ----
.PHONY: bench
bench: $(B)/vireo.stripped.elf need-run ## Vireo and Linux side by side, and docs/benchmarks.md: [RUNS=7] [BENCH="boot blk tx rx ..."] [QEMU=...]
	$(call need,measure,gcc libc6-dev linux-libc-dev python3 lz4 gnuplot-nox fio linux-perf)
	@IMAGE=$(abspath $(B)/vireo.stripped.elf) BENCH_DIR=$(BUILD)/bench RUNS='$(RUNS)' BENCH='$(BENCH)' /usr/bin/python3 tests/bench/bench.py
bench: export ACCEL := $(ACCEL)

T ?= 60
fuzz: ## fuzz with clang's libFuzzer, T=60 seconds for each target of tests/fuzz
	$(call need,fuzz,clang libclang-rt-14-dev)
	@$(MAKE) --no-print-directory fuzz-run HOST_KIND=fuzz
.PHONY: fuzz-run
fuzz-run: $(FUZZ_BIN)
	@tools/fuzz $(T) $(FUZZ_BIN)

.PHONY: model
model: ## check the models of the notification protocol with spin: they hold, and every seeded mistake is found
	$(call need,check the models,gcc spin)
	@tools/model $(BUILD)/model

# ---- lint ----
.PHONY: lint format
lint: | $(NEWLIB)/done ## formatting, include edges, cppcheck, shellcheck, white space; and no warning of clang's
	$(call need,check the sources,git clang-format cppcheck shellcheck python3)
	@tools/lint
	@$(MAKE) --no-print-directory -s -j2 CC=clang BUILD=$(BUILD)/clang NEWLIB=$(NEWLIB) LINUX_PARTS=$(LINUX_PARTS) objects >/dev/null
	@echo "  ok      clang"
.PHONY: objects
objects: $(IMAGE_OBJ)

format: ## format the C sources as .clang-format says
	$(call need,format,git clang-format)
	@git ls-files --cached --others --exclude-standard '*.c' '*.h' | xargs clang-format -i

# ---- the rest ----
.PHONY: clean distclean help
clean: ## remove what was built, except newlib and the sources of ACPICA and libfdt
	rm -rf $(filter-out $(BUILD)/newlib-% $(BUILD)/linux-%,$(wildcard $(BUILD)/*))
distclean: ## remove build/ with newlib
	rm -rf $(BUILD)
help: ## this list
	@echo "make [TARGET] [ARCH=x86_64] [CC=gcc|clang] [CROSS_COMPILE=x86_64-elf-] [BUILD=build] [V=1]"
	@awk -F ':.*## ' '/^[a-z-]+:.* ## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
