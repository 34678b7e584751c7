# otad and its broker for Docker, amd64 and arm64. Targets: otad (default, the last), broker.
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS build
WORKDIR /src
COPY packaging/depends packaging/depends
RUN apt-get update \
 && apt-get install -y --no-install-recommends $(awk '$1 == "build" { print $2 }' packaging/depends) \
 && rm -rf /var/lib/apt/lists/*
COPY CMakeLists.txt CMakePresets.json LICENSE ./
COPY proto proto
COPY db db
COPY server server
COPY cli cli
COPY device-agent device-agent
COPY man man
COPY packaging packaging
RUN cmake --preset release -DCMAKE_INSTALL_PREFIX=/usr \
 && cmake --build --preset release \
 && DESTDIR=/out cmake --install build --strip --component server

FROM ${BASE} AS broker
RUN apt-get update \
 && apt-get install -y --no-install-recommends mosquitto \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 otad && useradd --uid 10001 --gid otad --home-dir /var/lib/broker --shell /usr/sbin/nologin otad \
 && install -d -o otad -g otad -m 0700 /var/lib/broker
COPY packaging/mosquitto/otad.acl /etc/mosquitto/otad.acl
COPY packaging/mosquitto/otad.conf /etc/mosquitto/otad.conf
COPY packaging/docker/broker-start /usr/local/bin/broker-start
# COPY keeps modes, and those of a checkout are as its owner's umask was.
RUN sed -i 's,^password_file .*,password_file /var/lib/broker/passwd,' /etc/mosquitto/otad.conf \
 && chmod 0644 /etc/mosquitto/otad.acl /etc/mosquitto/otad.conf \
 && chmod 0755 /usr/local/bin/broker-start
USER otad
VOLUME /var/lib/broker
EXPOSE 1883
# It listens (state 0A) on 1883 (075B). To connect instead would fill its log.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD ["grep", "-q", ":075B 00000000:0000 0A", "/proc/net/tcp"]
CMD ["broker-start"]

FROM ${BASE} AS otad
COPY packaging/depends /usr/share/doc/otad/depends
RUN chmod 0644 /usr/share/doc/otad/depends \
 && apt-get update \
 && apt-get install -y --no-install-recommends $(awk '$1 == "run" { print $2 }' /usr/share/doc/otad/depends) \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 otad && useradd --uid 10001 --gid otad --home-dir /var/lib/otad --shell /usr/sbin/nologin otad \
 && install -d -o otad -g otad -m 0700 /var/lib/otad
COPY --from=build /out/usr/ /usr/
USER otad
WORKDIR /var/lib/otad
# Devices on plain HTTP (what they install is signed), operators on HTTPS and on the socket in the data directory.
ENV OTAD_DATA=/var/lib/otad \
    OTAD_LISTEN="http://0.0.0.0:8484=devices,clients https://0.0.0.0:8485=operators" \
    OTAD_PLAIN_HTTP=yes \
    OTACTL_ROOT_DIR=/otad-root
VOLUME /var/lib/otad
EXPOSE 8484 8485
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s CMD ["otad", "health"]
ENTRYPOINT ["otad"]
