# The image of fini-bridge: one static binary on an empty base, run as nobody in particular on a root that may be read-only.
#
#   docker build -t fini-bridge:0.1.0 --build-arg REVISION=$(git rev-parse HEAD) --build-arg CREATED=$(date -u +%FT%TZ) .
#
# Kept to what every builder understands (no heredocs, no COPY --link). `tests/deploy/image` builds and examines it.

# Both bases can be replaced by a mirror, or pinned: --build-arg RUNTIME_IMAGE=gcr.io/distroless/static-debian12@sha256:…
ARG RUST_IMAGE=docker.io/library/rust:1.95-slim-bookworm
ARG RUNTIME_IMAGE=gcr.io/distroless/static-debian12:nonroot

FROM ${RUST_IMAGE} AS build
# Of the program: otlp sends spans to a collector.
ARG FEATURES=""
WORKDIR /build
# Linked statically with glibc: its allocator is the one that was measured, and since 2.34 it resolves names without
# loading modules. The explicit target keeps the flag away from procedural macros, which cannot be static.
ENV RUSTFLAGS="-C target-feature=+crt-static" CARGO_TERM_COLOR=never CARGO_INCREMENTAL=0

# Dependencies, in a layer that lasts as long as the lock file: every target of the manifest is stood in for by an empty one.
COPY Cargo.toml Cargo.lock ./
RUN for target in src/lib.rs $(sed -n 's/^path = "\(.*\)"$/\1/p' Cargo.toml); do \
      mkdir -p "$(dirname "$target")" && echo 'fn main() {}' > "$target" || exit 1; \
    done \
 && cargo build --release --locked --features "$FEATURES" --bin fini-bridge --target "$(rustc --print host-tuple)"

COPY config config
COPY src src
# Files keep the times they have outside, which may be older than the stand-ins'.
RUN touch src/lib.rs src/main.rs \
 && cargo build --release --locked --offline --features "$FEATURES" --bin fini-bridge --target "$(rustc --print host-tuple)" \
 && mkdir -p /out/var/lib && mkdir -m 0700 /out/var/lib/fini-bridge \
 && mv target/*/release/fini-bridge /out/fini-bridge \
 && /out/fini-bridge --version

FROM ${RUNTIME_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="fini-bridge" \
      org.opencontainers.image.description="Puts Fini, the AI support agent, behind your own chat frontend" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="gcr.io/distroless/static-debian12:nonroot"
COPY --from=build --chown=0:0 --chmod=0555 /out/fini-bridge /usr/bin/fini-bridge
# The one place to write: a volume mounted here takes over its owner. Copied with its parent, so that every builder keeps
# its mode.
COPY --from=build --chown=65532:65532 /out/var/lib/ /var/lib/
USER 65532:65532
EXPOSE 8080 9090
STOPSIGNAL SIGTERM
# Life, not readiness: a container is not to be restarted because Fini is down. Kubernetes uses its own probes instead.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["/usr/bin/fini-bridge", "healthcheck"]
ENTRYPOINT ["/usr/bin/fini-bridge"]
CMD ["serve"]
