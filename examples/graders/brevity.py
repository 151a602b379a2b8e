"""A reward function as TRL's `reward_funcs` takes it: short completions that name their topic."""


def brevity(completions, topic=None, **kwargs):
    """1 for an empty completion, 0 for 400 characters or more; None where the row has no topic.

    `topic` is a column of the data: TRL and enigma give it as a list, one value a completion.
    """
    topics = topic or [None] * len(completions)
    return [
        None if topic is None else max(0.0, 1.0 - len(text) / 400) * (topic in text)
        for text, topic in zip(completions, topics)
    ]
