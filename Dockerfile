# syntax=docker/dockerfile:1

# The binary, and beside it exactly the files of the system that it opens.
FROM rust:1.95-bookworm AS build
WORKDIR /build
# .dockerignore says what this is; cargo wants to see the tests and benches that Cargo.toml names.
COPY . .
RUN cargo build --profile dist --locked --bin keyferry
RUN mkdir -p /image/etc/keyferry \
 && install -m 0555 target/dist/keyferry /image/keyferry \
 && ldd target/dist/keyferry | grep -o '/[^ ]*' | xargs cp -L --parents -t /image \
 && echo 'hosts: files dns' > /image/etc/nsswitch.conf \
 && install -m 0444 config/container.toml /image/etc/keyferry/keyferry.toml
# A directory of its own, so that its owner and mode are copied with it.
RUN mkdir -p /writable && install -d -m 0700 /writable/data

FROM scratch
COPY --from=build /image/ /
COPY --from=build --chown=65532:65532 /writable/ /
USER 65532:65532
ENV KEYFERRY_CONFIG=/etc/keyferry/keyferry.toml
VOLUME /data
EXPOSE 8080 8081
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s CMD ["/keyferry", "health"]
ENTRYPOINT ["/keyferry"]
CMD ["serve"]
