# The model of files is linked alone: it prints nothing and asks nothing.
OBJ_test_join := $(O)/user/cli/join.o
$(O)/tests/unit/test_join: $(O)/user/cli/join.o
