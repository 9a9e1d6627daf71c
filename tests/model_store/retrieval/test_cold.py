from model_store.retrieval.cold import is_cold

IDS = [str(number) for number in range(5000)]


def cold(seed: int, share: float) -> set[str]:
    return {item for item in IDS if is_cold(item, seed, share)}


def test_about_the_asked_share_is_hidden() -> None:
    assert 400 < len(cold(0, 0.1)) < 600
    assert cold(0, 0.0) == set()
    assert cold(0, 1.0) == set(IDS)


def test_another_seed_hides_others_and_a_greater_share_hides_more() -> None:
    assert len(cold(0, 0.1) & cold(1, 0.1)) < 100
    assert cold(0, 0.1) < cold(0, 0.2)


def test_what_is_hidden_stays_the_same_between_versions_of_this_software() -> None:
    assert [item for item in IDS[:50] if is_cold(item, 0, 0.1)] == ["10", "19", "42", "45", "48"]
