# Gatewright in a container: one static binary on an empty file system, without the
# demo and the stand-in.
#
#   docker build --build-arg VERSION=1.2.3 -t registry.example.com/gatewright:1.2.3 .
#   docker run -p 8080:8080 -p 127.0.0.1:8081:8081 \
#     -v "$PWD/gatewright:/etc/gatewright:ro" -v gatewright-data:/var/lib/gatewright \
#     --env-file secrets.env registry.example.com/gatewright:1.2.3
#
# The folder that is mounted at /etc/gatewright holds gatewright.yaml and the
# rules. Set `store: {sqlite: {path: /var/lib/gatewright/gatewright.db}}` in it:
# /etc/gatewright is read-only, and only a volume outlives the container. Set
# `http: {private_addr: ":8081"}` too: the loopback of a container is its own.
# BuildKit is needed (the default of Docker since 23.0; Podman has its own).

ARG GO_VERSION=1.26

# The compiler runs on the builder's own architecture and crosses to the target.
FROM --platform=$BUILDPLATFORM golang:${GO_VERSION} AS build
ARG VERSION=dev
ARG TARGETOS
ARG TARGETARCH
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 GOOS=${TARGETOS} GOARCH=${TARGETARCH} \
    go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /root-fs/gatewright ./cmd/server
# What the binary needs from its file system: certificate authorities, the
# name of its user, and a folder for temporary files.
RUN mkdir -p /root-fs/etc/ssl/certs /root-fs/tmp /state-fs/var/lib/gatewright \
    && cp /etc/ssl/certs/ca-certificates.crt /root-fs/etc/ssl/certs/ \
    && echo 'gatewright:x:65532:65532:Gatewright:/var/lib/gatewright:/nonexistent' > /root-fs/etc/passwd \
    && echo 'gatewright:x:65532:' > /root-fs/etc/group \
    && chmod 1777 /root-fs/tmp

FROM scratch
COPY --from=build /root-fs/ /
COPY --from=build --chown=65532:65532 /state-fs/ /
# A number and not a name, so that Kubernetes can see that it is not root.
USER 65532:65532
WORKDIR /var/lib/gatewright
VOLUME /var/lib/gatewright
# Webhooks; health and metrics.
EXPOSE 8080 8081
# Exec form: there is no shell in this image.
ENTRYPOINT ["/gatewright"]
CMD ["serve", "--config", "/etc/gatewright/gatewright.yaml"]
