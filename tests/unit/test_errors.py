from kerneldefs.errors import nearest


def test_nearest_names_close_words_in_their_own_spelling() -> None:
    assert nearest("kimi-k3", ["Kimi-K2", "llama"]) == "; nearest: Kimi-K2"


def test_nearest_is_silent_when_nothing_is_close() -> None:
    assert nearest("zzz", ["kimi-k2", "llama"]) == ""


def test_nearest_names_a_word_once() -> None:
    assert nearest("kimi", ["kimi", "Kimi"]).count("kimi") == 1
