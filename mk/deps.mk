# Everything the project needs comes in here, as Debian 12 packages. A machine that has them all is
# left alone (no apt call); as another user than root the missing ones are named and the build fails.
#
# Loggers that the tests run are NOT installed, since that would start services and touch /etc:
# they are downloaded and unpacked under build/loggers (scripts/unpack-loggers).

DEPS_BUILD := gcc libc6-dev make clang llvm bpftool libbpf-dev libelf-dev zlib1g-dev libjansson-dev \
	libsmartcols-dev libncurses-dev libisal-dev pkg-config
DEPS_CHECK := g++ libcunit1-dev libclang-rt-14-dev musl-tools xfsprogs btrfs-progs e2fsprogs qemu-system-x86 \
	busybox-static cpio kmod dmsetup liburing-dev libaio-dev mandoc jq strace procps util-linux gdb bc python3-minimal systemd
DEPS_LINT  := clang-format clang-tidy cppcheck

scripts/ensure-packages: ;
.PHONY: deps deps-build deps-check deps-lint
deps: deps-build deps-check deps-lint
deps-build:
	@scripts/ensure-packages $(DEPS_BUILD)
deps-check:
	@scripts/ensure-packages $(DEPS_BUILD) $(DEPS_CHECK)
deps-lint:
	@scripts/ensure-packages $(DEPS_LINT)
