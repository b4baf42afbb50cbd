#!/bin/sh
# The functions of an image as assembly for arch/x86_64/symbols.c: ksyms.sh NM IMAGE > symbols.S
set -eu
printf '\t.section .symbol_table, "a"\n'
"$1" -n --defined-only "$2" | awk '
	BEGIN { last = "0" }
	$2 ~ /^[tTwW]$/ && $1 != last && $3 !~ /^(\.|image_|__st)/ {
		printf "\t.uleb128 0x%s - 0x%s\n\t.asciz \"%s\"\n", $1, last, $3
		last = $1
	}'
printf '\t.section .note.GNU-stack, "", @progbits\n'
