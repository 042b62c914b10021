# The scaler's image, and the base image for apps:
#   FROM registry.example/triggerfish:0.1.0
#   COPY shop.py .
# The Python version is the one that the tests run on. `--build-arg EXTRAS=` omits the dependencies for Leases in Kubernetes
# and for Entra ID, which are 150 of 260 MB.
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS build
ARG EXTRAS=kubernetes,entraid
ENV PIP_CONSTRAINT=/src/constraints.txt \
    PIP_BUILD_CONSTRAINT=/src/constraints.txt \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY pyproject.toml constraints.txt build_protocol.py README.md LICENSE ./
COPY listeners listeners
COPY scaler scaler
COPY triggerfish triggerfish
RUN python -m venv /opt/triggerfish \
    && /opt/triggerfish/bin/pip install ".[scaler${EXTRAS:+,${EXTRAS}}]"

FROM ${PYTHON}
LABEL org.opencontainers.image.title="triggerfish" \
      org.opencontainers.image.description="Python functions triggered by Redis, scaled by their backlog" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/opt/triggerfish/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
COPY --from=build /opt/triggerfish /opt/triggerfish
WORKDIR /app
# A numeric ID lets Kubernetes verify that the user is not root.
USER 65532:65532
EXPOSE 6000 8080
ENTRYPOINT ["triggerfish"]
CMD ["--help"]
