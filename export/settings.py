"""Every setting of an export, declared once: flag, environment variable, default and help text. Exports nothing."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, PositiveInt, field_validator, model_validator
from pydantic_settings import BaseSettings, CliPositionalArg, SettingsConfigDict

from bundle.cpu import Cpu
from bundle.manifest import Precision


class ExportSettings(BaseSettings):
    """Turn a sentence-transformers model into a bundle of verified ONNX graphs.

    A gate that fails leaves no bundle. An existing --out is replaced when it is empty or a bundle, and then only at
    the very end; anything else is refused unless --overwrite is given.

    exit codes:
      0    the bundle is written and every gate passed
      1    an unexpected error (--traceback shows where)
      2    bad input: unknown flag or value, student missing, damaged or unsupported, --out occupied
      3    a gate failed
      4    the disk or the network let us down
      130  interrupted (143: terminated)
    """

    model_config = SettingsConfigDict(
        env_prefix="DISCO_EXPORT_",
        cli_prog_name="python -m export",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_avoid_json=True,
        cli_hide_none_type=True,
    )

    student: CliPositionalArg[str] = Field(
        description="sentence-transformers model: folder, hub id or package:NAME/FOLDER"
    )
    out: Path = Field(description="folder of the bundle to write")
    precision: list[Precision] = Field(
        ["int8", "fp32"],
        min_length=1,
        description="graph to include, repeatable, fp16 for GPUs; default: int8, fp32",
    )
    target: Cpu | Literal["auto"] = Field(
        "auto", description="CPU that int8 is made for; avx2 is right on every x86 CPU; auto: this machine's"
    )
    smoothing: float = Field(
        0.75, ge=0, le=1, description="how far outlier channels are moved from activations into weights; 0: plain int8"
    )
    tune: bool = Field(
        False, description="also measure which form of int8 and which engine are fastest here, and serve by that"
    )
    include_weights: bool = Field(False, description="put the torch weights into the bundle too")
    overwrite: bool = Field(False, description="replace whatever folder --out is")
    name: str | None = Field(None, description="the model's name; unset: the student folder's")

    push_to_hub: str | None = Field(
        None, pattern=r"^[\w.-]+/[\w.-]+$", description="also publish the bundle on the model hub, e.g. me/my-student"
    )
    private: bool = Field(False, description="with --push-to-hub: where the model is new there, hide it from others")

    fp32_worst: float = Field(0.9999, le=1, description="gate: least cosine between fp32 and torch")
    fp16_worst: float = Field(0.9995, le=1, description="gate: least cosine between fp16 and torch")
    int8_mean: float = Field(0.997, le=1, description="gate: mean cosine between int8 and torch")
    int8_first_percentile: float = Field(0.99, le=1, description="gate: 1st percentile of those cosines")
    int8_worst: float = Field(0.97, le=1, description="gate: least of those cosines")
    int8_batch_spread: float = Field(
        0.001, ge=0, description="gate: most that batch-mates and padding may change, as 1 - cosine"
    )
    ranking_agreement: float = Field(
        0.98, le=1, description="gate without STS data: rank correlation of similarities with torch's"
    )
    sts_drop: float = Field(0.5, description="gate with STS data: most Spearman points lost on STS-B dev")
    full_sts: bool = Field(True, description="also score the seven STS tasks where their data is at hand")
    threads: PositiveInt | None = Field(None, description="compute threads while verifying; unset: all cores")
    traceback: bool = Field(False, description="show the traceback of an unexpected error")

    @field_validator("precision")
    @classmethod
    def _each_once(cls, precision: list[Precision]) -> list[Precision]:
        return list(dict.fromkeys(precision))

    @model_validator(mode="after")
    def _something_to_tune(self) -> Self:
        if self.tune and self.precision == ["fp16"]:
            raise ValueError(
                "--tune measures what this CPU can run, and fp16 is for GPUs: add --precision int8 or fp32"
            )
        return self
