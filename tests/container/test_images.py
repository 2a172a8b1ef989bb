"""The images that are built here, from our own Dockerfiles where they are ours."""

from __future__ import annotations

from tests.container.conftest import Containers
from tests.container.daemon import Docker

READ = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8080/{path}').read().decode())"


def test_the_client_image_has_the_command_and_no_root(docker: Docker, client_image: str) -> None:
    said = docker("run", "--rm", "--network", "none", client_image, "sh", "-c", "id -u; abstractcore --version")
    assert said.split() == ["10001", "abstractcore,", "version", "2.6.4"]


def test_the_client_image_has_no_secret_and_no_pip_cache(docker: Docker, client_image: str) -> None:
    assert "KEY" not in docker("image", "inspect", "--format", "{{.Config.Env}}", client_image)


def test_the_client_serves_the_chat_page_and_says_why_its_server_is_not_ready(
    docker: Docker, containers: Containers, client_image: str
) -> None:
    name = containers.start(
        client_image,
        options=(
            "--env",
            "VLLM_BASE_URL=http://vllm-server:8000/v1",
            "--read-only",
            "--cap-drop",
            "ALL",
            "--health-interval",
            "0.5s",
        ),
    )
    docker.wait(name, "healthy", limit=60)
    assert "<title>" in docker("exec", name, "python3", "-c", READ.format(path=""))
    assert '"vllm"' in docker("exec", name, "python3", "-c", READ.format(path="providers"))
    docker("stop", "--time", "30", name)
    assert docker.inspect(name)["State"]["ExitCode"] == 0  # it ended when it was asked to
