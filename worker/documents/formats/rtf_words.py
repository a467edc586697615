"""The control words of RTF that name a character, an encoding, or a text that is not shown."""

from collections.abc import Mapping

CHARSETS = {"symbol": 2}
ENCODINGS: Mapping[int, str] = {
    0: "cp1252",
    77: "mac-roman",
    78: "cp932",
    80: "gb18030",
    81: "cp950",
    128: "cp932",
    129: "cp949",
    130: "johab",
    134: "gb18030",
    136: "cp950",
    161: "cp1253",
    162: "cp1254",
    163: "cp1258",
    177: "cp1255",
    178: "cp1256",
    186: "cp1257",
    204: "cp1251",
    222: "cp874",
    238: "cp1250",
    254: "cp437",
    255: "cp850",
}
"""Of each charset of a font; the others, and 1, are in the encoding of the file."""

SIGNS: Mapping[str, str] = {"tab": "\t", "line": "\n", "lbr": "\n", "emdash": "—", "endash": "–", "emspace": " ", "enspace": " ",
    "qmspace": " ", "bullet": "•", "lquote": "‘", "rquote": "’", "ldblquote": "“", "rdblquote": "”", "nestcell": " | ",
    "nestrow": "\n", "mden": "/", "msup": "^", "msub": "_"}  # fmt: skip
"""Words that stand for characters."""

SKIPPED = frozenset({"colortbl", "pict", "objdata", "objclass", "objname", "nonshppict", "filetbl", "ftnsep", "ftnsepc", "ftncn",
    "aftnsep", "aftnsepc", "aftncn", "xe", "tc", "tcn", "rxe", "txe", "template", "sn", "sv", "shprslt", "hl", "hlsrc", "hlloc",
    "formfield", "pntxta", "pntxtb", "private", "annotation", "atnid", "atnauthor", "atntime", "atndate", "atnref", "atnicn",
    "listtable", "listoverridetable", "operator", "manager", "company", "category", "comment", "doccomm", "creatim", "revtim",
    "printim", "buptim", "hlinkbase", "datafield", "bkmkstart", "bkmkend", "revtbl", "rsidtbl", "generator"})  # fmt: skip
"""Words that begin a text which no page shows."""

KEPT = frozenset(
    {
        "shpinst",
        "do",
        "dptxbxtext",
        "fldinst",
        "ud",
        "moMath",
        "moMathPara",
        "mmathPara",
        "cs",
        "nesttableprops",
    }
)
"""Words that are marked as ones to pass over by programs that do not know them, and hold text that is shown."""
