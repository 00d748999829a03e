# One recipe for every image: one static binary and nothing else. `--build-arg MODULE=filter` says which.
# The recipes of the three architectures differ in the next line alone (`cargo test -p isotherm --test containers`).
ARG PLATFORM=arm64v8
ARG MODULE=sensor

FROM --platform=$BUILDPLATFORM rust:1.95-slim-bookworm AS build
ARG PLATFORM
# What cargo calls the platform, and a linker and a standard library for it.
RUN set -eu; \
    case "$PLATFORM" in \
        amd64) target=x86_64-unknown-linux-gnu ;; \
        arm64v8) target=aarch64-unknown-linux-gnu packages="gcc-aarch64-linux-gnu libc6-dev-arm64-cross" ;; \
        arm32v7) target=armv7-unknown-linux-gnueabihf packages="gcc-arm-linux-gnueabihf libc6-dev-armhf-cross" ;; \
        *) echo "PLATFORM=$PLATFORM: amd64, arm64v8 and arm32v7 are known"; exit 1 ;; \
    esac; \
    echo "$target" >/target; \
    if [ -n "${packages:-}" ]; then \
        apt-get update && apt-get install -y --no-install-recommends $packages && rm -rf /var/lib/apt/lists/*; \
        rustup target add "$target"; \
    fi
# A panic ends the process, so nothing reads the tables for unwinding, an eighth of the binary: the linker leaves them out,
# but for those by which the C runtime finds their beginning and end.
RUN echo 'SECTIONS { /DISCARD/ : { *(EXCLUDE_FILE(*crtbegin*.o *crtend*.o *crt1.o) .eh_frame) } } INSERT AFTER .text;' >/no-unwinding
ENV CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
    CARGO_TARGET_ARMV7_UNKNOWN_LINUX_GNUEABIHF_LINKER=arm-linux-gnueabihf-gcc \
    RUSTFLAGS="-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs -C link-arg=-Wl,--no-eh-frame-hdr -C link-arg=-Wl,-T,/no-unwinding"
WORKDIR /src
COPY . .
# All three at once, the same layer for each image: what they share is compiled once.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,sharing=locked \
    set -eu; target=$(cat /target); \
    cargo build --locked --profile module --target "$target" -p isotherm-sensor -p isotherm-filter -p isotherm-hub; \
    mkdir -p -m 0700 /out/home/state; \
    for module in sensor filter hub; do \
        install -D -m 0555 "target/$target/module/$module" "/out/$module/module"; \
        sh docker/sbom "$module" "$target" >"/out/$module/sbom.cdx.json"; chmod 0444 "/out/$module/sbom.cdx.json"; \
    done

FROM scratch
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
