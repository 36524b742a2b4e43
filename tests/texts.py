"""Small transformers with random weights, and tokenised texts that fit."""

import torch

WORDS, LONGEST = 60, 10


def bert(kind="BertModel", seed=0):
    """A transformer that sees both sides; its weights are large, so that what it is given matters."""
    import transformers

    config = transformers.BertConfig(
        vocab_size=WORDS,
        hidden_size=12,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=20,
        max_position_embeddings=LONGEST,
        initializer_range=0.5,
        num_labels=3,
    )
    torch.manual_seed(seed)
    return getattr(transformers, kind)(config).eval()


def gpt2(seed=0):
    """One that sees what comes before."""
    import transformers

    config = transformers.GPT2Config(
        vocab_size=WORDS, n_embd=12, n_layer=2, n_head=2, n_positions=LONGEST, initializer_range=0.5
    )
    torch.manual_seed(seed)
    return transformers.GPT2Model(config).eval()


def texts(n, longest=LONGEST, seed=0):
    """Lists of 2 to ``longest`` tokens, none of them 0."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(2, longest + 1, (n,), generator=generator).tolist()
    lengths[0] = longest
    return [torch.randint(1, WORDS, (length,), generator=generator).tolist() for length in lengths]


def encoded(rows, longest=LONGEST):
    """The same as input_ids and attention_mask, int64 (N, longest), padded with 0 at the end."""
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return {"input_ids": ids, "attention_mask": mask}
