# syntax=docker/dockerfile:1

FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=
RUN make build VERSION="$VERSION" && bin/crossgate demo page > chat.html

# A static binary, the authorities it trusts and nothing else: no shell, no package manager, no root.
FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /src/bin/crossgate /crossgate
COPY --from=build /src/chat.html /usr/share/crossgate/chat.html
USER 65532:65532
EXPOSE 8080 9901
HEALTHCHECK --interval=10s --timeout=4s --start-period=10s CMD ["/crossgate", "health"]
ENTRYPOINT ["/crossgate"]
CMD ["serve", "-c", "/etc/crossgate/crossgate.yaml"]
