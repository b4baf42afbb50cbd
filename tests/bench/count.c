/*
 * A QEMU plugin that counts the guest's instructions exactly: those between the first two times that a guest executes the marker
 * `nopl 0x45524956(%rax)` ("VIRE") on the CPU that runs it, interrupts included, time that the CPU sleeps not. It prints the count when QEMU ends.
 *
 * Both guests carry the marker around what they measure. QEMU's -icount counts as well, but it lets time jump over sleeps, and a
 * general kernel's timers make it jump all the time.
 *
 * The interface is QEMU's (version 1 of its plugin API); what is used of it is declared here, as Debian has no package of the header.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum { NO_REGISTERS };
enum { ADD_U64 };

typedef void (*translated_t)(qemu_plugin_id_t id, struct qemu_plugin_tb *tb);
typedef void (*executed_t)(unsigned cpu, void *context);
typedef void (*ended_t)(qemu_plugin_id_t id, void *context);

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, translated_t call);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, ended_t call, void *context);
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *tb, int op, void *to, uint64_t value);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn, executed_t call, int flags, void *context);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
void qemu_plugin_outs(const char *text);

int qemu_plugin_version = 1;

static const uint8_t marker[] = {0x0f, 0x1f, 0x80, 'V', 'I', 'R', 'E'};

static uint64_t executed, at_mark[2];
static unsigned marks;

static void marked(unsigned cpu, void *context)
{
	(void)cpu, (void)context;
	if (marks < 2)
		at_mark[marks++] = executed;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t count = qemu_plugin_tb_n_insns(tb);

	(void)id;
	qemu_plugin_register_vcpu_tb_exec_inline(tb, ADD_U64, &executed, count);
	for (size_t i = 0; i < count; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);

		if (qemu_plugin_insn_size(insn) == sizeof(marker) && !memcmp(qemu_plugin_insn_data(insn), marker, sizeof(marker)))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, marked, NO_REGISTERS, NULL);
	}
}

static void ended(qemu_plugin_id_t id, void *context)
{
	char text[80];

	(void)id, (void)context;
	snprintf(text, sizeof(text), "instructions %llu\n", (unsigned long long)(marks == 2 ? at_mark[1] - at_mark[0] : 0));
	qemu_plugin_outs(text);
}

int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv);
int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
	(void)info, (void)argc, (void)argv;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	qemu_plugin_register_atexit_cb(id, ended, NULL);
	return 0;
}
