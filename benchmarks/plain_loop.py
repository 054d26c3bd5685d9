"""The plain loop that Lexline is compared with: the maths of PyTorch's word_language_model example.

    python -m benchmarks.plain_loop DATA ARTIFACT      train one epoch on DATA's train, valid and test files

It uses nn.Embedding, nn.LSTM, a full softmax over the vocabulary, fp32, and SGD with clipped gradients and a
learning rate that is divided by 4 when valid does not improve. It generates text word by word. Its artifact
is the pickled model and the corpus, from which every load derives the words' numbers again. Nothing in it
is slowed down on purpose. It logs lines of key=value pairs.
"""

import argparse
import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

EMSIZE = 200
NHID = 200
NLAYERS = 2
DROPOUT = 0.2
BATCH_SIZE = 20
EVAL_BATCH_SIZE = 10
BPTT = 35
LR = 20.0
CLIP = 0.25
SEED = 1111

SPLITS = ("train", "valid", "test")
MODEL = "model.pt"
CORPUS = "corpus"

State = tuple[Tensor, Tensor]


class Dictionary:
    """Words and their numbers, in order of appearance."""

    def __init__(self) -> None:
        self.word2idx: dict[str, int] = {}
        self.idx2word: list[str] = []

    def add_word(self, word: str) -> int:
        """Return the word's number; a new word gets the next one."""
        if word not in self.word2idx:
            self.idx2word.append(word)
            self.word2idx[word] = len(self.idx2word) - 1
        return self.word2idx[word]

    def __len__(self) -> int:
        return len(self.idx2word)


class Corpus:
    """The three splits of a folder as word numbers (tokens), with an <eos> after each line."""

    def __init__(self, folder: Path) -> None:
        self.dictionary = Dictionary()
        self.train, self.valid, self.test = (self.tokenize(folder / split) for split in SPLITS)

    def tokenize(self, path: Path) -> Tensor:
        """Read a file as word numbers."""
        with path.open(encoding="utf-8") as file:
            for line in file:
                for word in [*line.split(), "<eos>"]:
                    self.dictionary.add_word(word)
        with path.open(encoding="utf-8") as file:
            lines = []
            for line in file:
                ids = [self.dictionary.word2idx[word] for word in [*line.split(), "<eos>"]]
                lines.append(torch.tensor(ids, dtype=torch.int64))
        return torch.cat(lines)


class PlainModel(nn.Module):
    """Encoder, LSTM and decoder. Encoder and decoder have one matrix."""

    def __init__(self, vocabulary_size: int) -> None:
        super().__init__()
        self.vocabulary_size = vocabulary_size
        self.drop = nn.Dropout(DROPOUT)
        self.encoder = nn.Embedding(vocabulary_size, EMSIZE)
        self.rnn = nn.LSTM(EMSIZE, NHID, NLAYERS, dropout=DROPOUT)
        self.decoder = nn.Linear(NHID, vocabulary_size)
        self.decoder.weight = self.encoder.weight
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)

    def forward(self, words: Tensor, hidden: State) -> tuple[Tensor, State]:
        """Return scores (rows * columns, vocabulary) after each of `words` (rows, columns), and the state."""
        output, hidden = self.rnn(self.drop(self.encoder(words)), hidden)
        return self.decoder(self.drop(output)).view(-1, self.vocabulary_size), hidden

    def init_hidden(self, columns: int) -> State:
        """Return the state before any word."""
        zeros = next(self.parameters()).new_zeros(NLAYERS, columns, NHID)
        return zeros, zeros


def batchify(tokens: Tensor, columns: int) -> Tensor:
    """Cut a text into columns of equal length and drop the rest.

        a b c d e f g h i j k, 2 columns   ->   a f
                                                b g
                                                c h
                                                d i
                                                e j

    The result has the shape (rows, columns).
    """
    rows = tokens.size(0) // columns
    return tokens[: rows * columns].view(columns, rows).t().contiguous()


def get_batch(source: Tensor, row: int) -> tuple[Tensor, Tensor]:
    """Return up to BPTT rows of words (rows, columns) and the word after each (rows * columns)."""
    rows = min(BPTT, len(source) - 1 - row)
    return source[row : row + rows], source[row + 1 : row + 1 + rows].reshape(-1)


def train_epoch(
    model: PlainModel, source: Tensor, lr: float, after_batch: Callable[[int, float], None] = lambda *_: None
) -> list[float]:
    """Train one pass over `source` (rows, BATCH_SIZE).

    Args:
        model: The model.
        source: Words in columns.
        lr: The learning rate.
        after_batch: Called with the number of batches done and the batch's mean loss.

    Returns:
        Each batch's seconds.
    """
    model.train()
    criterion = nn.CrossEntropyLoss()
    hidden = model.init_hidden(source.size(1))
    seconds = []
    for number, row in enumerate(range(0, source.size(0) - 1, BPTT), start=1):
        started = time.perf_counter()
        words, targets = get_batch(source, row)
        model.zero_grad()
        hidden = (hidden[0].detach(), hidden[1].detach())
        output, hidden = model(words, hidden)
        loss = criterion(output, targets)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.grad is not None:
                    parameter.add_(parameter.grad, alpha=-lr)
        loss_now = loss.item()
        seconds.append(time.perf_counter() - started)
        after_batch(number, loss_now)
    return seconds


def mean_loss(model: PlainModel, tokens: Tensor) -> float:
    """Return the mean loss of a split in nats per token, read in EVAL_BATCH_SIZE columns."""
    model.eval()
    criterion = nn.CrossEntropyLoss()
    source = batchify(tokens, EVAL_BATCH_SIZE)
    hidden = model.init_hidden(EVAL_BATCH_SIZE)
    total = 0.0
    with torch.no_grad():
        for row in range(0, source.size(0) - 1, BPTT):
            words, targets = get_batch(source, row)
            output, hidden = model(words, hidden)
            total += len(words) * criterion(output, targets).item()
    return total / (len(source) - 1)


def save(model: PlainModel, data: Path, artifact: Path) -> None:
    """Pickle the model and copy the corpus, which assigns words to the numbers."""
    (artifact / CORPUS).mkdir(parents=True, exist_ok=True)
    torch.save(model, artifact / MODEL)
    for split in SPLITS:
        shutil.copyfile(data / split, artifact / CORPUS / split)


def load_model(artifact: Path) -> PlainModel:
    """Load the model of an artifact."""
    # A pickled module is code; this one was written by `save` above.
    model: PlainModel = torch.load(artifact / MODEL, map_location="cpu", weights_only=False)
    model.eval()
    return model


def load(artifact: Path) -> tuple[PlainModel, Corpus]:
    """Load an artifact."""
    return load_model(artifact), Corpus(artifact / CORPUS)


def generate(model: PlainModel, corpus: Corpus, words: int, temperature: float = 1.0) -> list[str]:
    """Draw words from the whole vocabulary. Fails at low temperatures, at which exp overflows."""
    hidden = model.init_hidden(1)
    word = torch.randint(len(corpus.dictionary), (1, 1), dtype=torch.long)
    text = []
    with torch.no_grad():
        for _ in range(words):
            output, hidden = model(word, hidden)
            weights = output.squeeze().div(temperature).exp()
            drawn = torch.multinomial(weights, 1)[0]
            word.fill_(drawn)
            text.append(corpus.dictionary.idx2word[drawn])
    return text


def single_words_per_second(artifact: Path, words: int = 300) -> float:
    """Return the words per second of one text after another, by a loaded and warm model."""
    torch.manual_seed(SEED)
    model, corpus = load(artifact)
    generate(model, corpus, words // 10)
    started = time.perf_counter()
    generate(model, corpus, words)
    return words / (time.perf_counter() - started)


def seconds_to_first_word(artifact: Path) -> float:
    """Return the seconds from an artifact on disk to its first word, in a process that has imported torch."""
    started = time.perf_counter()
    model, corpus = load(artifact)
    generate(model, corpus, 1)
    return time.perf_counter() - started


def train(data: Path, artifact: Path, epochs: int, log_interval: int) -> None:
    """Read, train, evaluate and save."""
    torch.manual_seed(SEED)
    corpus = Corpus(data)
    source = batchify(corpus.train, BATCH_SIZE)
    batches = math.ceil((len(source) - 1) / BPTT)
    model = PlainModel(len(corpus.dictionary))
    print(f"vocabulary_size={len(corpus.dictionary)} train_tokens={len(corpus.train)}", flush=True)

    total, since = 0.0, 0

    def log(batch: int, loss: float) -> None:
        nonlocal total, since
        total, since = total + loss, since + 1
        if batch % log_interval == 0 or batch == batches:
            print(
                f"step={batch}/{batches} lr={lr:g} train_perplexity={math.exp(total / since):.2f}", flush=True
            )
            total, since = 0.0, 0

    lr, best = LR, math.inf
    for epoch in range(1, epochs + 1):
        print(f"epoch={epoch}/{epochs} step=0/{batches}", flush=True)
        seconds = train_epoch(model, source, lr, log)
        valid = mean_loss(model, corpus.valid)
        print(
            f"epoch={epoch}/{epochs} seconds={sum(seconds):.1f} valid_perplexity={math.exp(valid):.2f}",
            flush=True,
        )
        if valid < best:
            best = valid
            save(model, data, artifact)
        else:
            lr /= 4
    print(f"test_perplexity={math.exp(mean_loss(load_model(artifact), corpus.test)):.2f}", flush=True)


def main() -> None:
    """Train as the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "data", type=Path, help="folder with files train, valid and test, with spaces between words"
    )
    parser.add_argument("artifact", type=Path, help="folder for the artifact")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--log-interval", type=int, default=200, help="batches between two lines of the log")
    arguments = parser.parse_args()
    train(arguments.data, arguments.artifact, arguments.epochs, arguments.log_interval)


if __name__ == "__main__":
    # Import it by name: otherwise the pickle would refer to a class of __main__, which other programs lack.
    from benchmarks import plain_loop

    plain_loop.main()
