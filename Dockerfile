# syntax=docker/dockerfile:1
# One small image for every process of a fleet: docker build -t caravan:0.1.0 .
# Other extras, see docs/howto/install.md:  docker build --build-arg EXTRAS="fleet documents parquet s3" -t caravan:0.1.0 .
ARG PYTHON_IMAGE=python:3.13.7-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ARG EXTRAS="fleet documents parquet"
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore uv==0.13.9
ENV UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_NO_CACHE=1 \
    UV_PYTHON_DOWNLOADS=never \
    UV_PROJECT_ENVIRONMENT=/opt/caravan
WORKDIR /src
# Dependencies first: they change less often than the code, and this layer is kept.
COPY pyproject.toml uv.lock ./
RUN uv sync --frozen --no-dev $(printf -- '--extra %s ' $EXTRAS) --no-install-project
COPY README.md CHANGELOG.md LICENSE ./
COPY api_schemas api_schemas
COPY caravan caravan
COPY examples examples
COPY migrations migrations
COPY simulator simulator
COPY worker worker
RUN uv sync --frozen --no-dev $(printf -- '--extra %s ' $EXTRAS) --no-editable

FROM ${PYTHON_IMAGE}
# The spool lives in CARAVAN_HOME: a volume mounted there takes its owner from this folder.
RUN useradd --system --uid 10001 --home-dir /var/lib/caravan --create-home --shell /usr/sbin/nologin caravan \
    && mkdir /work
COPY --from=build /opt/caravan /opt/caravan
ENV PATH=/opt/caravan/bin:$PATH \
    CARAVAN_HOME=/var/lib/caravan \
    PYTHONUNBUFFERED=1
USER caravan
WORKDIR /work
ENTRYPOINT ["caravan"]
CMD ["--help"]
