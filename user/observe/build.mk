OBSERVE_SRC := $(wildcard user/observe/*.c)
OBSERVE_OBJ := $(OBSERVE_SRC:%.c=$(O)/%.o)
