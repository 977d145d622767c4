# atcost as an image. From a clone:
#
#   docker build --build-arg ATCOST_COMMIT="$(git log -1 --abbrev=12 --format='%h %cs')" -t atcost .
#   docker run --rm -v atcost:/var/lib/atcost atcost init
#   docker run -v atcost:/var/lib/atcost atcost
#
# The second one needs a topic in atcost.toml, which the first one wrote into the volume.

FROM rust:1.95.0-slim-bookworm AS build
# The packages that `make packages` installs.
RUN apt-get update -qq \
 && apt-get install -qq -y --no-install-recommends build-essential pkg-config mold libssl-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /build
# The toolchain is the image's; rust-toolchain.toml would have rustup fetch what only `make lint` needs.
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
COPY schemas schemas
COPY ledger ledger
COPY ingest ingest
COPY rating rating
COPY jobs jobs
COPY tests tests
# There is no repository in here, so the version is told which commit it is.
ARG ATCOST_COMMIT=""
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    ATCOST_COMMIT="$ATCOST_COMMIT" cargo build --release --locked -p jobs --bin atcost \
 && mkdir -p /built/bin \
 && objcopy --strip-all target/release/atcost /built/bin/atcost

FROM debian:bookworm-slim
# Kafka and registries are asked over TLS.
RUN apt-get update -qq \
 && apt-get install -qq -y --no-install-recommends ca-certificates libssl3 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --create-home --home-dir /var/lib/atcost --shell /usr/sbin/nologin atcost
COPY --from=build /built/bin/atcost /usr/local/bin/atcost
USER atcost
# atcost.toml, the ledger and the runs: keep it in a volume.
WORKDIR /var/lib/atcost
VOLUME /var/lib/atcost
# Metrics name topics and how much is billed: publish the port to Prometheus and to nobody else.
EXPOSE 9464
ENTRYPOINT ["atcost"]
CMD ["--log-format", "json", "ingest", "--metrics", "0.0.0.0:9464"]
# Asks the health check that a running ingest serves; the shell speaks HTTP well enough. Other verbs serve
# none and end by themselves: run them with --no-healthcheck. A waiting ingest is unhealthy too, so let it
# tell people, and never restart it for that.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9464 && printf 'GET /healthz HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' >&3 && read -r -t 4 _ status _ <&3 && [ \"$status\" = 200 ]"]
