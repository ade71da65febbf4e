"""Every vector of the identifier standard, its negative vectors, and the property of the check."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yunhe.kernel import ids
from yunhe.kernel.ids import BadCode, CodeType

VALID = {
    "V1 national node": "112100000000000019C110100000001T",
    "V2 regional node A": "2123301000000000276330100000001V",
    "V3 regional node B": "212320500000000035H320500000001E",
    "V4 industry node": "312100000000000043W008400000001N",
    "V5 business node": "491330100MA0000058A33017K2M9QXAN",
    "V6 provider connector": "591330100MA000006653301A1B2C3D4Y",
    "V7 consumer connector": "591320500MA0000074G3205ZZZZZZZZX",
    "V8 service connector": "591440300MA00000820008400000000I",
    "V9 product": "691330100MA0000066533010F3K8T1W9",
    "V10 resource": "791330100MA0000066533011BH95JZYK",
    "V11 product, check *": "691330100MA000006653301FP2O2T43*",
    "V12 product, check 0": "691330100MA000006653301CKJ852PZ0",
    "V13 product, check 1": "691330100MA000006653301O9UQZ65U1",
    "V14 resource with ext": "791330100MA0000066533011BH95JZYK•1215202502281BH95JZY",
    "V15 third party": "491310105575958172F330100000001L",
}
V9, V10, V14 = VALID["V9 product"], VALID["V10 resource"], VALID["V14 resource with ext"]

REFUSED = [
    ("691330100MA0000066533010F3K8T1W8", "check"),
    ("691330100MA0000066533010F3K8TW19", "check"),
    ("691330100MA0000066533010F3K8T1W", "length"),
    ("891330100MA0000066533010F3K8T1W2", "type"),
    ("6*1330100MA0000066533010F3K8T1W9", "alphabet"),
    (V10 + "•", "ext"),
    (V10 + "•" + "A" * 33, "ext"),
    ("391330100MA0000066533010F3K8T1W1", "region"),
    (V9.lower(), "case"),
    (V9 + "X", "length"),
    (V10 + "•has space", "ext"),
    (V10 + "•a•b", "ext"),
    (V10 + '•say"', "ext"),
    ("", "length"),
    ("６91330100MA0000066533010F3K8T1W9", "alphabet"),
]
SUBJECTS = [
    "12100000000000019C", "123301000000000276", "12320500000000035H", "12100000000000043W",
    "91330100MA0000058A", "91330100MA00000665", "91320500MA0000074G", "91440300MA00000820",
]  # fmt: skip
C1 = "8491330100MA0000058A330120250901120000A1B2C3D48"
C2 = "8491330100MA0000058A33012025123123595900000000*"
C3 = "9491330100MA0000058A330120250901120000A1B2C3D4K"


@pytest.mark.parametrize("text", VALID.values(), ids=VALID.keys())
def test_every_valid_vector_is_read_and_written_back(text: str) -> None:
    code = ids.parse(text)
    assert str(code) == text
    assert code.stem == text[:32]
    assert ids.parse_percent_encoded(code.percent_encoded()) == code
    again = ids.allocate(code.type, code.subject, code.region, code.random, strict_subject=False)
    assert again.stem == code.stem


@pytest.mark.parametrize(("text", "fault"), REFUSED)
def test_every_negative_vector_names_its_fault(text: str, fault: str) -> None:
    with pytest.raises(BadCode) as refused:
        ids.parse(text)
    assert refused.value.facts["fault"] == fault


def test_the_published_sample_fails_its_own_check_unless_the_deployment_allows_it() -> None:
    sample = VALID["V15 third party"]
    assert ids.parse(sample).subject == "91310105575958172F"
    with pytest.raises(BadCode) as refused:
        ids.parse(sample, strict_subject=True)
    assert refused.value.facts["fault"] == "subject"
    assert ids.uscc_check("91310105575958172") == "A"


def test_the_extension_is_percent_encoded_and_never_alters_the_check() -> None:
    assert ids.parse(V14).percent_encoded() == V14.replace("•", "%E2%80%A2")
    assert len(V14) == 53
    assert len(V14.encode()) == 55
    assert ids.parse(V10).with_ext("1215202502281BH95JZY") == ids.parse(V14)
    assert ids.parse(V10).check == ids.parse(V14).check
    with pytest.raises(BadCode):
        ids.parse_percent_encoded(V10 + "%FF")


@pytest.mark.parametrize("separator", "\u2022\u00b7\u2027\u30fb\uff65")
def test_separators_that_look_alike_are_normalised(separator: str) -> None:
    assert str(ids.parse(V14.replace("•", separator))) == V14


def test_normalise_raises_the_stem_only() -> None:
    typed = " " + V10.lower() + "\u00b7abc "
    assert ids.normalise(typed) == V10 + "•abc"
    assert ids.parse(ids.normalise(typed)).ext == "abc"


@pytest.mark.parametrize("subject", SUBJECTS)
def test_credit_codes_carry_both_their_checks(subject: str) -> None:
    ids.check_uscc(subject)
    with pytest.raises(BadCode):
        ids.check_uscc(subject[:17] + ("0" if subject[17] != "0" else "1"))


@pytest.mark.parametrize("text", ["91330100MA0000066", "91330100MA0000066I", "9133O100MA00000665"])
def test_malformed_credit_codes_are_refused(text: str) -> None:
    with pytest.raises(BadCode):
        ids.check_uscc(text)


def test_an_organisation_check_alone_wrong_is_named() -> None:
    body = "91330100MA0000067"  # position 17 should be 6
    with pytest.raises(BadCode, match="position 17"):
        ids.check_uscc(body + ids.uscc_check(body))


def test_persons_have_codes_that_no_organisation_can_have() -> None:
    key = bytes(32)
    assert ids.person_code(key, "01", "110105197812312345") == "ZE8NEG1Q5RHAPVS2GZ"
    assert ids.person_code(key, "01", "110105197812312345", "sha256") == "ZYZEMNXK9SEJ9A3TYQ"
    ids.check_subject("ZE8NEG1Q5RHAPVS2GZ")
    ids.check_subject("V" + "0" * 17)
    with pytest.raises(BadCode):
        ids.check_subject("ZE8NEG1Q5RHAPVS2GU")
    operator = ids.operator_code("91330100MA00000665", "ZE8NEG1Q5RHAPVS2GZ")
    assert operator == "91330100MA00000665/ZE8NEG1Q5RHAPVS2GZ"


@pytest.mark.parametrize("text", [C1, C2, C3])
def test_contract_ids_are_read_and_written_back(text: str) -> None:
    assert str(ids.parse_contract_id(text)) == text


def test_a_contract_id_is_allocated_in_china_time() -> None:
    node = ids.parse(VALID["V5 business node"])
    at = datetime(2025, 9, 1, 4, 0, 0, 123, tzinfo=UTC)
    assert str(ids.allocate_contract_id(node, at, "A1B2C3D4")) == C1
    assert str(ids.allocate_contract_id(node, at, "A1B2C3D4", type_digit="9")) == C3


def test_the_documented_blind_spot_of_contract_ids() -> None:
    """Left positions 11 and 47 swapped: the check passes, so a lookup must decide."""
    swapped = "84913301008A0000058A330120250901120000A1B2C3D4M"
    assert ids.check37(swapped[:-1]) == swapped[-1]
    assert str(ids.parse_contract_id(swapped)) == swapped != C1


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (C1[:-1], "length"),
        (C1[:-1] + "9", "check"),
        ("X" + C1[1:], "type"),
        ("8" + "6" + C1[2:], "type"),
        (C1[:24] + "20251301120000A1B2C3D4", "time"),
    ],
)
def test_bad_contract_ids_name_their_fault(text: str, fault: str) -> None:
    if fault == "time":
        text += ids.check37(text)
    with pytest.raises(BadCode) as refused:
        ids.parse_contract_id(text)
    assert refused.value.facts["fault"] == fault


def test_catalogue_codes() -> None:
    assert ids.check1271("ISO79") == "3W"
    assert ids.catalogue_code("330100", "A0000012", "D", 1) == "330100A0000012/D0000019M"
    assert ids.catalogue_code("330100", "A0000012", "A", 42) == "330100A0000012/A000042F7"
    assert ids.catalogue_code("110000", "00000007", "F", 999999) == "11000000000007/F999999OK"
    for bad in ("330100A0000012/D0000019N", "330100A0000012/X0000019M", "330100A0000012D0000019M"):
        with pytest.raises(BadCode):
            ids.check_catalogue_code(bad)
    with pytest.raises(BadCode):
        ids.catalogue_code("330100", "A0000012", "D", 0)


def _regions(type_: CodeType) -> st.SearchStrategy[str]:
    region = st.integers(1000, 9999).map(str)
    industry = st.integers(1, 97).map(lambda n: f"{n:04d}")
    if type_ is CodeType.INDUSTRY_NODE:
        return industry
    return region if type_ <= CodeType.REGIONAL_NODE else region | industry


codes = st.sampled_from(list(CodeType)).flatmap(
    lambda type_: st.builds(
        ids.allocate,
        st.just(type_),
        st.sampled_from(SUBJECTS),
        _regions(type_),
        st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=8, max_size=8),
    )
)


@given(codes, st.text("AZaz09./-_", max_size=32))
def test_generate_parse_generate_is_the_identity(code: ids.Code, ext: str) -> None:
    full = code.with_ext(ext) if ext else code
    assert ids.parse(str(full), strict_subject=True) == full
    assert ids.parse_percent_encoded(full.percent_encoded()) == full


@settings(max_examples=25, deadline=None)
@given(codes)
def test_every_single_character_edit_is_rejected(code: ids.Code) -> None:
    text = str(code)
    alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ*"
    edits = {text[:i] + c + text[i + 1 :] for i in range(32) for c in alphabet}
    edits |= {text[:i] + text[i + 1 :] for i in range(32)}
    edits |= {text[:i] + c + text[i:] for i in range(33) for c in "0AZ*"}
    edits |= {text[:i] + text[i + 1] + text[i] + text[i + 2 :] for i in range(31)}
    for edit in edits - {text}:
        with pytest.raises(BadCode):
            ids.parse(edit)


def test_swaps_of_any_two_positions_are_found_in_32_characters() -> None:
    for i in range(32):
        for j in range(i + 1, 32):
            if V9[i] != V9[j]:
                swapped = list(V9)
                swapped[i], swapped[j] = swapped[j], swapped[i]
                with pytest.raises(BadCode):
                    ids.parse("".join(swapped))


@given(st.uuids(version=4))
def test_random_parts_come_from_the_ids_of_a_transaction(value: object) -> None:
    random = ids.random8(str(value))
    assert ids.allocate(CodeType.PRODUCT, SUBJECTS[5], "3301", random).random == random


PRODUCT, REGIONAL, INDUSTRY = CodeType.PRODUCT, CodeType.REGIONAL_NODE, CodeType.INDUSTRY_NODE


@pytest.mark.parametrize(
    ("type_", "region", "random", "fault"),
    [
        (PRODUCT, "3301", "A1B2C3D", "alphabet"),
        (PRODUCT, "3301", "A1B2C3D4E", "alphabet"),
        (PRODUCT, "3301", "a1B2C3D4", "alphabet"),
        (PRODUCT, "3301", "A1B2C3D*", "alphabet"),
        (PRODUCT, "330", "A1B2C3D4", "region"),
        (PRODUCT, "33010", "A1B2C3D4", "region"),
        (PRODUCT, "33A1", "A1B2C3D4", "region"),
        (PRODUCT, "٣٣٠١", "A1B2C3D4", "region"),
        (PRODUCT, "0000", "A1B2C3D4", "region"),
        (PRODUCT, "0098", "A1B2C3D4", "region"),
        (REGIONAL, "0084", "A1B2C3D4", "region"),
        (INDUSTRY, "3301", "A1B2C3D4", "region"),
    ],
)
def test_nothing_is_allocated_that_could_not_be_read(
    type_: CodeType, region: str, random: str, fault: str
) -> None:
    with pytest.raises(BadCode) as refused:
        ids.allocate(type_, SUBJECTS[5], region, random)
    assert refused.value.facts["fault"] == fault


def test_a_region_of_letters_is_none_though_the_check_is_right() -> None:
    body = "6" + SUBJECTS[5] + "33A1" + "0F3K8T1W"
    with pytest.raises(BadCode) as refused:
        ids.parse(body + ids.check37(body))
    assert refused.value.facts["fault"] == "region"


@pytest.mark.parametrize("digit", ["", "88", "X", "٨"])
def test_the_type_of_a_contract_is_one_digit(digit: str) -> None:
    node = ids.parse(VALID["V5 business node"])
    with pytest.raises(BadCode) as refused:
        ids.allocate_contract_id(node, datetime(2025, 9, 1, tzinfo=UTC), "A1B2C3D4", digit)
    assert refused.value.facts["fault"] == "type"
