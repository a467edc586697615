"""Which jobs begin alike."""

from worker.policy.prefix import MOST, PREFIX, Prefixes, common_start, sharing

DOCUMENTS = [f"document {n}: " + chr(97 + n) * 2000 for n in range(3)]


def test_questions_about_one_document_are_one_group_wherever_they_stand() -> None:
    prompts = [f"{document}\n\n{question}?" for question in ("Who", "Why") for document in DOCUMENTS]
    prefixes = Prefixes(common_start(prompts))

    groups = [prefixes.group(n, prompt, None, None) for n, prompt in enumerate(prompts, start=1)]

    assert groups == [1, 2, 3, 1, 2, 3]


def test_what_all_prompts_begin_with_does_not_make_them_one_group() -> None:
    rules = "Answer in one word. " * 100
    prompts = [rules + document for document in DOCUMENTS]
    prefixes = Prefixes(common_start(prompts))

    assert common_start(prompts) >= len(rules)
    assert [prefixes.group(n, prompt, None, None) for n, prompt in enumerate(prompts)] == [0, 1, 2]


def test_another_system_prompt_is_another_prefix() -> None:
    prefixes = Prefixes(0)

    assert prefixes.group(1, "x", "be brief", None) == 1
    assert prefixes.group(2, "x", "be long", None) == 2
    assert prefixes.group(3, "x", "be brief", None) == 1


def test_only_so_many_beginnings_are_remembered() -> None:
    prefixes = Prefixes(0)
    for n in range(MOST):
        prefixes.group(n, str(n), None, None)

    assert prefixes.group(-1, "0", None, None) == 0
    prefixes.group(MOST, "one more", None, None)

    assert prefixes.group(-1, "0", None, None) == 0, "seen again just before, so it is not the one that goes"
    assert prefixes.group(-1, "1", None, None) == -1


def test_a_question_before_the_document_is_noticed() -> None:
    before = [f"{question}?\n{DOCUMENTS[0]}" for question in ("Who", "What", "When")]
    after = [f"{DOCUMENTS[0]}\n{question}?" for question in ("Who", "What", "When")]

    assert sharing(before).advice is not None
    assert "nothing shared" in str(sharing(before).advice)
    assert sharing(after).advice is None
    assert sharing(after).shared_chars > PREFIX


def test_short_prompts_get_no_advice() -> None:
    assert sharing(["Who is it?", "What is it?"]).advice is None
    assert sharing(["one"]).advice is None
    assert sharing([]).advice is None
