# syntax=docker/dockerfile:1
FROM python:3.13-slim AS build
WORKDIR /src
COPY . .
RUN python -m venv /opt/komos
RUN /opt/komos/bin/python -m pip install --no-cache-dir --no-compile \
    --constraint requirements.lock ".[analysis,notify,postgres,webhooks]" "psycopg[binary]"

FROM python:3.13-slim
COPY --from=build /opt/komos /opt/komos
# All that a load writes is below /data: dlt's working directory, the DuckDB file, the SQLite spool.
RUN install -d -o 10001 -g 10001 /data
ENV PATH="/opt/komos/bin:$PATH" \
    HOME=/data \
    DLT_DATA_DIR=/data/dlt \
    PYTHONDONTWRITEBYTECODE=1 \
    RUNTIME__DLTHUB_TELEMETRY=false
WORKDIR /data
VOLUME /data
USER 10001:10001
EXPOSE 8766
# For the default command with the default destination; compose.yaml has those of its services.
HEALTHCHECK --interval=5m --timeout=60s --start-period=15m CMD ["komos", "health", "--only", "freshness"]
ENTRYPOINT ["komos"]
CMD ["load", "--follow", "60"]
