# Manual pages are written by hand (mdoc); tests/cli/test_man.sh holds them against the command's tables.
MAN := $(wildcard docs/man/*.[1357])
LINT_DEPS += man-lint
.PHONY: man-lint
man-lint:
	$(call say,MANDOC,docs/man)cd docs && mandoc -T lint -W warning $(MAN:docs/%=%)
