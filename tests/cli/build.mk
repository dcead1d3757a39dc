# The model of files is linked alone: it prints nothing and asks nothing.
OBJ_test_join := $(O)/user/cli/join.o
$(O)/tests/unit/test_join: $(O)/user/cli/join.o

# So is the model of the window.
OBJ_test_simulate := $(O)/user/cli/simulate.o $(O)/user/cli/trace.o
$(O)/tests/unit/test_simulate: $(OBJ_test_simulate)

# test_sanitized.sh runs the command's tests once more with this one.
.PHONY: cli-asan
cli-asan:
	@$(MAKE) --no-print-directory SAN=asan build/asan/spoolguard
CHECK_DEPS += cli-asan
