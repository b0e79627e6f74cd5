"""Names and values with a meaning for a browser, a terminal or a spreadsheet."""

ALARM = "window.pwned=1;document.title='pwned'"

MARKUP = {
    "script": f"<script>{ALARM}</script>",
    "end of a script": f"</script><script>{ALARM}</script>",
    "end of a title": f"</title></style></textarea></svg><script>{ALARM}</script>",
    "image": f'<img src=x onerror="{ALARM}">',
    "attribute": f'"><svg onload="{ALARM}">',
    "event": f"' onmouseover={ALARM} autofocus onfocus={ALARM} x='",
    "comment": f"--><script>{ALARM}</script><!--",
    "comment in a script": "<!--<script>",
    "link": "<a href=\"javascript:window.pwned=1\">a</a>",
    "javascript": "javascript:window.pwned=1",
    "refresh": '<meta http-equiv="refresh" content="0;url=http://127.0.0.1:9/">',
    "base": '<base href="http://127.0.0.1:9/">',
    "frame": "<iframe srcdoc=\"<script>parent.window.pwned=1</script>\">",
    "template": "{{ 7*7 }}{% raw %}${7*7}#{7*7}",
    "entity": "&lt;script&gt;&#x3c;b&#62;",
    "cdata": f"]]><script>{ALARM}</script>",
    "line separator": f"\u2028{ALARM}\u2029",
}  # fmt: skip
TERMINAL = {
    "colour": "\x1b[31mred\x1b[0m",
    "title": "\x1b]0;pwned\x07",
    "one-byte introducer": "\x9b31mred",
    "one-byte title": "\x9d0;pwned\x9c",
    "bidi override": "user\u202etxt.exe",
    "bidi isolate": "a\u2066b\u2069c",
    "backspace": "safe\b\b\b\bevil",
    "carriage return": "safe\revil",
    "newline": "one\nDrift: none",
    "rich markup": "[red]x[/red][link=http://127.0.0.1:9/]y[/link]",
    "zero width": "ad\u200bmin\ufeff",
    "tag characters": "a\U000e0041\U000e0042",
}
SPREADSHEET = {
    "formula": "=HYPERLINK(\"http://127.0.0.1:9/\",\"a\")",
    "command": "=cmd|'/C calc'!A0",
    "plus": "+1+cmd|'/C calc'!A0",
    "minus": "-2+3",
    "at": "@SUM(1)",
    "tab": "\t=1+1",
    "quotes": 'a","b\n"c',
}  # fmt: skip
OTHER = {
    "empty": "",
    "spaces": "  ",
    "long": "x" * 3_000,
    "path": "..",
    "sql": "'; DROP TABLE results; --",
    "sql wildcard": "%_\\",
    "not a number": "NaN",
    "python format": "{0.__class__}%s%n",
    "astral": "\U0001f4a9\U0010ffff",
    "combining": "e" + "\u0301" * 50,
}
NAMES = MARKUP | TERMINAL | SPREADSHEET | OTHER
# What no terminal may receive: controls, and what changes the direction or hides.
STEERING = [*map(chr, (*range(9), *range(11, 32), *range(127, 160)))]
STEERING += [*"\u200b\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e"]
STEERING += [*"\u2066\u2067\u2068\u2069\ufeff\U000e0041"]
