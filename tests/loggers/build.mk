# Real loggers, unpacked under build/loggers, and the helpers that feed them and wait for them. Without a network
# there are none: then the tests say that they were skipped, and why.
LOGGER_HELPERS := $(O)/tests/loggers/send_lines $(O)/tests/loggers/wait_lines
DIR_CHANGES    := $(O)/tests/loggers/dir_changes
TEST_HELPERS   += $(LOGGER_HELPERS) $(DIR_CHANGES)

$(LOGGER_HELPERS) $(DIR_CHANGES): %: %.o
	$(call say,LD,$@)$(CC) $(CFLAGS) $(SANFLAGS) -o $@ $<

build/loggers/.done: scripts/unpack-loggers scripts/debs.sh
	$(call say,FETCH,$(@D))scripts/unpack-loggers $(@D)
	@touch $@

# For make run, which needs only this one.
build/loggers/rsyslog/.unpacked: | scripts/unpack-loggers
	$(call say,FETCH,$(@D))scripts/unpack-loggers build/loggers rsyslog

.PHONY: loggers fetch-loggers-or-skip
loggers: build/loggers/.done
fetch-loggers-or-skip:
	@$(MAKE) -s --no-print-directory loggers || echo "no loggers: their tests will be skipped"
CHECK_DEPS += fetch-loggers-or-skip
