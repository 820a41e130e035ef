# Serves exported bundles (`beholder export M`), without torch: docker build -t beholder . (docs/SERVING.md, Container)
# `python -m tests.container.rehearsal M` runs these very steps without Docker.
FROM python:3.11-slim AS build
WORKDIR /build
COPY container/requirements.txt constraints.txt ./
RUN python -m venv /opt/beholder
RUN /opt/beholder/bin/python -m pip install --no-cache-dir --disable-pip-version-check -c constraints.txt -r requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN /opt/beholder/bin/python -m pip install --no-cache-dir --disable-pip-version-check --no-deps .

FROM python:3.11-slim
RUN useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin beholder
COPY --from=build /opt/beholder /opt/beholder
ENV PATH=/opt/beholder/bin:$PATH HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /models
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
ENTRYPOINT ["beholder", "serve", "--host", "0.0.0.0", "--port", "8000"]
CMD ["/models/model.beholder"]
