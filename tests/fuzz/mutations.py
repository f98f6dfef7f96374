"""Valid files, damaged: bytes replaced, dropped and doubled, and marks that readers trip over put among them."""

from hypothesis import strategies as st

MARKS = (
    *(b"\n", b"\r", b"\r\n", b"\0", b'"', b"'", b",", b";", b"\t", b"{", b"}", b"[", b"]", b":", b"\\", b" "),
    *(
        b"\\ud800",
        b"\\u0000",
        b"\\\\u000a",
        b"\\\\ud800",
        b"\xff",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\xe2\x80\xa8",
        b"\xc2\x85",
        b"\xed\xa0\x80",
    ),
    *(
        b"null",
        b"true",
        b"NaN",
        b"-Infinity",
        b"1e999",
        b"9" * 400,
        b"-0",
        b"1.5",
        b"[]",
        b"{}",
        b'""',
        b"=1+1",
    ),
    *(
        b'"text"',
        b'"id"',
        b"[" * 600,
        b'{"a":' * 600,
        b"<script>",
        b"{s}",
        b"{question}",
        b"[X]",
        b"[Y]",
        b"PAR1",
        b"ARROW1\0\0",
    ),
)

edits = st.lists(
    st.tuples(
        st.floats(0, 1),  # where, as a share of the file
        st.sampled_from([0, 0, 1, 2, 9, 60]),  # how much goes
        st.sampled_from(MARKS)
        | st.binary(max_size=8)
        | st.integers(1, 200),  # what comes, or how much is doubled
    ),
    max_size=5,
)


def damaged(content: bytes, edited) -> bytes:
    """The content after the edits that were drawn from `edits`."""
    for share, length, instead in edited:
        at = int(share * len(content))
        if isinstance(instead, int):
            instead = content[at : at + instead]
        content = content[:at] + instead + content[at + length :]
    return content
