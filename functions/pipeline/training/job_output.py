"""The training job's own output: metrics.json and the training curve, from output.tar.gz.

The job's scripts may come from any Git repository, so nothing in the archive is trusted. Sizes are bounded,
and malformed values count as missing.
"""

import gzip
import io
import json
import tarfile
import zlib
from collections.abc import Callable
from typing import Annotated, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from contracts.training import Trained
from core import aws

# Bytes of the archive, packed and unpacked, and of its files. metrics.json has some hundred bytes an epoch.
# When it is parsed, it has to fit into the memory of a function.
_LARGEST_ARCHIVE, _LARGEST_METRICS, _LARGEST_CURVE = 32 * 1024**2, 4 * 1024**2, 500_000
_MOST_HYPERPARAMETERS, _MOST_WORDS, _MOST_NOTES = 50, 40, 20

Perplexity = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=2**53)]
Probability = Annotated[float, Field(gt=0, le=1)]
# JSON can hold halves of surrogate pairs, UTF-8 cannot.
Text = Annotated[str, AfterValidator(lambda text: text.encode(errors="replace").decode())]

# A hyperparameter. Both become part of the run's report, whose size is limited.
Name = Annotated[str, Field(pattern=r"^[a-z_]{1,40}$")]
Value = (
    bool
    | int
    | Annotated[float, Field(allow_inf_nan=False)]
    | Annotated[str, Field(pattern=r"^[\w.+-]{1,40}$")]
)


class _Untrusted(BaseModel):
    """A JSON object in which a malformed field has its default."""

    model_config = ConfigDict(frozen=True, strict=True)

    @field_validator("*", mode="wrap")
    @classmethod
    def _default_if_malformed(
        cls, value: object, validate: Callable[[object], object], info: ValidationInfo
    ) -> object:
        try:
            return validate(value)
        except ValidationError:
            return cls.model_fields[str(info.field_name)].get_default(call_default_factory=True)


class ScoredModel(_Untrusted):
    """A model's score on the common test text; `unknown_share` is the share of tokens it reads as unknown."""

    perplexity: Perplexity | None = None
    vocabulary_size: Count | None = None
    unknown_share: Annotated[float, Field(ge=0, le=1)] | None = None


class ScoredModels(_Untrusted):
    """The job's comparison of its model with the champion, on `tokens` of test text over `words` words.

    `reason` says why the two are not `comparable`. `notes` qualify the scores.
    """

    comparable: bool = False
    reason: Text | None = None
    champion: ScoredModel = ScoredModel()
    challenger: ScoredModel = ScoredModel()
    words: Count | None = None
    tokens: Count | None = None
    notes: list[Text] = []


class Epoch(_Untrusted):
    """One pass over the training text; None for a perplexity that is not a finite number."""

    train_perplexity: Perplexity | None = None
    valid_perplexity: Perplexity | None = None


class Sample(_Untrusted):
    """A text that the finished model generated."""

    prompt: Text = ""
    seed: int | None = None
    temperature: float | None = None
    text: Text = ""


class SideBySide(_Untrusted):
    """A text by each model, from the same prompt, seed and temperature."""

    prompt: Text = ""
    seed: int | None = None
    temperature: float | None = None
    champion: Text = ""
    challenger: Text = ""


class WordDifference(_Untrusted):
    """How probable each model found a word where the test text has it, as a geometric mean."""

    word: Text = ""
    count: Count = 0
    champion: Probability | None = None
    challenger: Probability | None = None

    @property
    def improved(self) -> bool:
        """Whether the challenger found the word more probable."""
        return (self.challenger or 0) > (self.champion or 0)


class CachePerplexity(_Untrusted):
    """The perplexity of the first `tokens` tokens of test with a cache of recent words, and without it."""

    perplexity: Perplexity | None = None
    perplexity_without: Perplexity | None = None
    tokens: Count | None = None


class Machine(_Untrusted):
    """The devices that trained, and the most memory in bytes that a process used of its host and its GPU.

    `precision` is the format in which training multiplied matrices.
    """

    device: Text = ""
    precision: Text = ""
    processes: Count | None = None
    memory: Count | None = None
    gpu_memory: Count | None = None


class JobMetrics(_Untrusted):
    """The content of metrics.json, as far as anything reads it. `best_epoch` counts from 1.

    `hyperparameters` are the values that training used, and `notes` say where they deviate from those that it
    was given. `word_differences` are the words of the test text whose probabilities differ most between the
    two models.
    """

    parameters: Count | None = None
    hyperparameters: Annotated[dict[Name, Value], Field(max_length=_MOST_HYPERPARAMETERS)] = {}
    machine: Machine = Machine()
    notes: Annotated[list[Text], Field(max_length=_MOST_NOTES)] = []
    cache: CachePerplexity = CachePerplexity()
    epochs: list[Epoch] = []
    best_epoch: Count | None = None
    comparison: ScoredModels | None = None
    side_by_side: SideBySide | None = None
    word_differences: Annotated[list[WordDifference], Field(max_length=_MOST_WORDS)] = []
    samples: list[Sample] = []


class JobOutput(NamedTuple):
    """The job's metrics, and its picture of the training curve as SVG."""

    metrics: JobMetrics = JobMetrics()
    training_curve: bytes | None = None


def read(trained: Trained) -> JobOutput:
    """Return the output of a training job; an empty one if the job left none that can be read.

    Raises:
        ClientError: S3 failed for another reason than a missing object.
    """
    bucket, _, artifact = trained.model_artifacts.removeprefix("s3://").partition("/")
    key = f"{artifact.rpartition('/')[0]}/output.tar.gz"
    response = aws.or_none(lambda: aws.s3().get_object(Bucket=bucket, Key=key), aws.is_missing_object)
    if response is None or response["ContentLength"] > _LARGEST_ARCHIVE:
        return JobOutput()
    packed = io.BytesIO(response["Body"].read())
    try:
        # Unpack a limited part before tarfile reads it: tarfile would read an endless header into memory.
        unpacked = gzip.GzipFile(fileobj=packed).read(_LARGEST_ARCHIVE + 1)
        if len(unpacked) > _LARGEST_ARCHIVE:
            return JobOutput()
        with tarfile.open(fileobj=io.BytesIO(unpacked), mode="r:") as archive:
            metrics = _content(archive, "metrics.json", _LARGEST_METRICS) or b"{}"
            curve = _content(archive, "training_curve.svg", _LARGEST_CURVE)
        # pydantic's own parser would refuse the whole document if it holds half a surrogate pair.
        return JobOutput(JobMetrics.model_validate(json.loads(metrics)), curve)
    except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError, RecursionError):
        return JobOutput()


def _content(archive: tarfile.TarFile, name: str, largest: int) -> bytes | None:
    member = next((each for each in archive if each.name == name and each.isreg()), None)
    file = archive.extractfile(member) if member and member.size <= largest else None
    return file.read() if file else None
