# smtpd-anontls in a container: the built-in defaults, reachable from outside, state in one volume.
#
#   docker build -t smtpd-anontls .
#   docker run --rm --read-only --tmpfs /tmp -p 127.0.0.1:2525:2525 -v smtpd-anontls:/var/lib/smtpd-anontls smtpd-anontls

FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY config/receive.yaml config/gallery.yaml config/
COPY smtpd_anontls smtpd_anontls
# The environment gets no pip: what runs in the end cannot install anything.
RUN python -m venv --without-pip /opt/smtpd-anontls
# With the driver of PostgreSQL, for several receivers on one journal.
RUN python -m pip --python /opt/smtpd-anontls install --no-cache-dir --disable-pip-version-check '.[postgres]'

FROM python:3.13-slim
COPY --from=build /opt/smtpd-anontls /opt/smtpd-anontls
# Numbers, not names: what checks for root, or owns a mounted folder, need not know this image's users.
RUN install -d -o 10025 -g 10025 -m 700 /var/lib/smtpd-anontls
# The built-in default keeps everything it writes in $XDG_STATE_HOME/smtpd-anontls: config, certs and var.
# The container's own loopback is nobody's; which of the host's addresses reach it is said when it is run.
ENV PATH=/opt/smtpd-anontls/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    XDG_STATE_HOME=/var/lib \
    SMTPD_ANONTLS__SERVERS__0__CONNECTORS__0__BINDINGS=0.0.0.0:2525
USER 10025:10025
VOLUME /var/lib/smtpd-anontls
EXPOSE 2525
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=60s --timeout=10s --start-period=10s CMD ["smtpd-anontls", "probe", "127.0.0.1:2525", "--verb", "none", "--timeout", "5"]
ENTRYPOINT ["smtpd-anontls"]
CMD ["serve"]
