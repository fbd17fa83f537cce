# The detector binary, static, alone with CA certificates, as an unprivileged user.
# Build from the repository's root: make docker

# The builder runs on the machine's own platform and compiles for the target's.
FROM --platform=$BUILDPLATFORM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG VERSION=dev
ARG TARGETOS=linux
ARG TARGETARCH
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$VERSION" -o /out/detector ./cmd/detector

FROM scratch
ARG VERSION=dev
LABEL org.opencontainers.image.title="Wardstream detector" \
      org.opencontainers.image.description="Reads audit events from Redis Streams, runs rules and writes blocks" \
      org.opencontainers.image.source="https://github.com/wardstream/wardstream" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /src/LICENSE /LICENSE
COPY --from=build /out/detector /detector
USER 65532:65532
EXPOSE 9090
ENTRYPOINT ["/detector"]
CMD ["run", "--config=/etc/wardstream/detector.yaml"]
