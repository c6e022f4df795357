# Each target does all of its set-up by itself.

.DEFAULT_GOAL := help
.PHONY: help demo test bench

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' $(MAKEFILE_LIST)

# Without optimisation: the first build takes half as long, and the demo spends its time waiting for certificates to end.
demo: ## root, authority, workloads, a proxy and a device on real processes; about 3 minutes to build at first, then under 90 s
	@.ci/need
	cargo build --workspace --bins --examples
	docs/demo/identity.sh

test: ## all tests, also against foreign programs, which it installs; about 10 minutes at first
	@.ci/need tests
	cargo test --workspace --doc
	cargo test --workspace --lib --bins --examples --tests

bench: ## the speed of policies, and of issuing with a load generator over real sockets; builds with optimisation
	@.ci/need
	cargo bench --profile dist --bench policy
	cargo bench --profile dist --bench load
