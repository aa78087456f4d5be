import shutil
import ssl
import subprocess
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from pydantic import ValidationError

from bundle.layout import Bundle
from server.settings import ServerSettings
from server.tls import TlsError, server_context
from tests.server.test_main import free_port, run_server, serving

PASSWORD = "open sesame"

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command to make certificates with")


class Pair(NamedTuple):
    certificate: Path
    key: Path


def make_pair(folder: Path, name: str) -> Pair:
    pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *new_key, "-days", "2", *subject, "-keyout", str(pair.key), "-out", str(pair.certificate))
    return pair


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_pair(tmp_path_factory.mktemp("tls"), "own")


@pytest.fixture(scope="module")
def encrypted(pair: Pair) -> Path:
    path = pair.key.with_suffix(".encrypted")
    openssl("ec", "-in", str(pair.key), "-aes256", "-passout", f"pass:{PASSWORD}", "-out", str(path))
    return path


def test_answers_are_encrypted_and_the_certificate_is_the_one_given(tiny_bundle: Bundle, pair: Pair) -> None:
    flags = ("--tls-certificate", str(pair.certificate), "--tls-key", str(pair.key))
    trusting = ssl.create_default_context(cafile=str(pair.certificate))
    with serving(tiny_bundle.path, *flags, verify=trusting) as server:
        answer = httpx.post(f"{server.url}/embed", json={"inputs": "cat"}, verify=trusting)
        assert answer.status_code == 200
        with pytest.raises(httpx.ConnectError, match="certificate"):
            httpx.get(f"{server.url}/health")
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{server.url.replace('https', 'http')}/health")


def test_keys_in_the_same_file_and_encrypted_ones_are_read(tmp_path: Path, pair: Pair, encrypted: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(pair.certificate.read_bytes() + pair.key.read_bytes())
    server_context(both, None, None)
    server_context(pair.certificate, encrypted, PASSWORD)


@pytest.mark.parametrize("password", [None, "wrong"])
def test_an_encrypted_key_needs_its_password(pair: Pair, encrypted: Path, password: str | None) -> None:
    with pytest.raises(TlsError, match="DISCO_TLS_KEY_PASSWORD"):
        server_context(pair.certificate, encrypted, password)


def test_what_does_not_fit_is_told_with_the_file_named(tmp_path: Path, pair: Pair) -> None:
    with pytest.raises(TlsError, match="not this certificate's"):
        server_context(pair.certificate, make_pair(tmp_path, "other").key, None)
    with pytest.raises(TlsError, match="as PEM"):
        server_context(pair.certificate, None, None)
    with pytest.raises(TlsError, match=r"gone\.pem.*No such file"):
        server_context(tmp_path / "gone.pem", pair.key, None)


def test_wrong_files_end_the_start_with_a_line_that_says_why(tmp_path: Path, pair: Pair) -> None:
    (tmp_path / "junk.pem").write_text("no certificate")
    done = run_server("--tls-certificate", str(tmp_path / "junk.pem"), "--port", str(free_port()))
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
    assert "junk.pem" in done.stderr
    done = run_server("--tls-certificate", str(tmp_path / "missing.pem"))
    assert done.returncode == 2
    assert "--tls-certificate" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_key_without_a_certificate_is_refused(pair: Pair) -> None:
    with pytest.raises(ValidationError, match="tls_certificate"):
        ServerSettings(tls_key=pair.key)


def test_the_password_comes_from_the_environment_and_is_never_shown(
    monkeypatch: pytest.MonkeyPatch, pair: Pair
) -> None:
    monkeypatch.setenv("DISCO_TLS_KEY_PASSWORD", PASSWORD)
    settings = ServerSettings(tls_certificate=pair.certificate)
    assert settings.tls_key_password is not None
    assert settings.tls_key_password.get_secret_value() == PASSWORD
    assert PASSWORD not in repr(settings)
    assert "password" not in run_server("--help").stdout
