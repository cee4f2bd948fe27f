# One image for the web server, the workers, beat, Flower and the migrations.
FROM python:3.11-slim AS build
# Neither the embedded servers nor what only tests and benchmarks import.
COPY requirements-server.lock /tmp/
# Without pip in it: nothing is installed into a container that runs.
RUN python -m venv --without-pip /venv \
    && pip --python /venv install --no-cache-dir --require-hashes -r /tmp/requirements-server.lock

FROM python:3.11-slim
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1
RUN useradd --uid 10001 --user-group --no-create-home app \
    && install -d -o app -g app /data /heartbeats
COPY --from=build /venv /venv
WORKDIR /app
COPY manage.py ./
COPY settlement_project settlement_project
COPY combat_history combat_history
COPY persistence persistence
COPY ops/flower ops/flower
# Addresses and secrets of nobody: static files are collected without servers.
RUN DEBUG=false SECRET_KEY=unused ALLOWED_HOSTS=unused \
    DATABASE_URL=postgresql://unused REDIS_URL=redis://unused \
    python manage.py collectstatic --noinput \
    && python -m compileall -q .
# By number: what refuses root need not know names.
USER 10001
EXPOSE 8000
CMD ["python", "-m", "settlement_project.web", "--host", "0.0.0.0", "--port", "8000"]
