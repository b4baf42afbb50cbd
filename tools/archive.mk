# One library of other people's sources: all .c of a folder (FILES: only those; SKIP: all but those, a pattern), compiled with the flags of whoever includes it.
#   make -f tools/archive.mk OUT=x.a DIR=sources [FILES="a.c b.c"] [SKIP="x%.c"] CC= AR= CFLAGS=
MAKEFLAGS += --no-builtin-rules
SRC := $(if $(FILES),$(FILES:%=$(DIR)/%),$(filter-out $(SKIP:%=$(DIR)/%),$(wildcard $(DIR)/*.c)))
OBJ := $(SRC:$(DIR)/%.c=$(OUT).d/%.o)

$(OUT): $(OBJ)
	@rm -f $@
	@$(AR) rcs $@ $^
$(OBJ): $(OUT).d/%.o: $(DIR)/%.c $(FLAGS_FILE) tools/archive.mk
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS) -c -o $@ $<
