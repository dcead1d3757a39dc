# The model of files is linked alone: it prints nothing and asks nothing.
OBJ_test_join := $(O)/user/cli/join.o
$(O)/tests/unit/test_join: $(O)/user/cli/join.o

# test_sanitized.sh runs the command's tests once more with this one.
.PHONY: cli-asan
cli-asan:
	@$(MAKE) --no-print-directory SAN=asan build/asan/spoolguard
CHECK_DEPS += cli-asan
