# make run: the main job. It starts a real rsyslogd by hand on a scratch folder and shows what its syncs cost, bare
# and guarded. CMD='…' guards that command instead, by POLICY='…' (only observed, unless given).
DEPS_RUN := jq

deps: deps-run
.PHONY: deps-run main-job-needs
deps-run: deps-build
	@scripts/ensure-packages $(DEPS_RUN)
main-job-needs: all $(if $(CMD),,$(LOGGER_HELPERS) build/loggers/rsyslog/.unpacked)
	@:

# Twice make: what is compiled may need what is only just installed.
run: deps-run
	@$(MAKE) --no-print-directory main-job-needs
	@O='$(O)' scripts/main-job
