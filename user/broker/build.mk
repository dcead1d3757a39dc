BROKER_SRC := $(wildcard user/broker/*.c)
BROKER_OBJ := $(BROKER_SRC:%.c=$(O)/%.o)
