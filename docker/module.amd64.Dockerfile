# One static binary and nothing else: `--build-arg MODULE=filter` says which. IoT Edge's tools want a recipe for each
# platform; they differ in the next two lines alone (`cargo test -p isotherm --test containers`).
ARG PLATFORM=amd64
ARG DOCKER_PLATFORM=linux/amd64
ARG MODULE=sensor

# Compiled on the machine that builds, for the platform: nothing is emulated.
FROM --platform=$BUILDPLATFORM rust:1.95-slim-bookworm AS build
ARG PLATFORM
COPY docker/toolchain /
RUN sh /toolchain "$PLATFORM"
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target,sharing=locked \
    sh docker/binaries

FROM --platform=$DOCKER_PLATFORM scratch
ARG MODULE
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="isotherm-$MODULE" \
      org.opencontainers.image.description="The $MODULE of isotherm" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.source="https://github.com/isotherm/isotherm" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out/$MODULE/ /
# A volume that is mounted on /state takes its owner from here.
COPY --from=build --chown=65532:65532 /out/home/ /
# Metrics are where IoT Edge's collector looks for them; who can reach them is the container's network's to say.
ENV ISOTHERM_STATE=/state \
    METRICS_ADDRESS=0.0.0.0:9600
EXPOSE 9600
USER 65532:65532
HEALTHCHECK --interval=10s --timeout=4s --start-period=5s --retries=3 CMD ["/module", "health"]
ENTRYPOINT ["/module"]
