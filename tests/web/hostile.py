"""Mail that means harm, or is broken: what a page must show without doing what it says."""

from __future__ import annotations

from types import MappingProxyType

# Where everything remote points: nobody may ask there.
ELSEWHERE = "http://127.0.0.1:{port}"

_HTML = """\
<html><head><base href="http://127.0.0.1:{port}/base/"><meta http-equiv="refresh" content="0;url=http://127.0.0.1:{port}/refresh">
<link rel="preconnect" href="http://127.0.0.1:{port}"><link rel="dns-prefetch" href="//evil.example.test">
<link rel="stylesheet" href="http://127.0.0.1:{port}/style.css"><link rel="prefetch" href="http://127.0.0.1:{port}/prefetch">
<style>@import url(http://127.0.0.1:{port}/import.css); body {{ background: url(http://127.0.0.1:{port}/background) }}
@font-face {{ font-family: x; src: url(http://127.0.0.1:{port}/font) }} p {{ font-family: x }}</style>
<script>document.title = "hacked"; new Image().src = "http://127.0.0.1:{port}/script"</script></head>
<body onload="new Image().src='http://127.0.0.1:{port}/onload'"><p>Hello</p>
<img src="http://127.0.0.1:{port}/img" srcset="http://127.0.0.1:{port}/srcset 2x" onerror="parent.document.title='hacked'">
<picture><source srcset="http://127.0.0.1:{port}/source"><img src="//127.0.0.1:{port}/scheme"></picture>
<video poster="http://127.0.0.1:{port}/poster" src="http://127.0.0.1:{port}/video" autoplay></video>
<audio src="http://127.0.0.1:{port}/audio" autoplay></audio>
<iframe src="http://127.0.0.1:{port}/iframe"></iframe><object data="http://127.0.0.1:{port}/object"></object>
<embed src="http://127.0.0.1:{port}/embed"><svg><image href="http://127.0.0.1:{port}/svg"/><script>parent.document.title='hacked'</script></svg>
<form action="http://127.0.0.1:{port}/form"><input name="password" autofocus onfocus="parent.document.title='hacked'"><button>Log on</button></form>
<a href="http://127.0.0.1:{port}/link" target="_top" ping="http://127.0.0.1:{port}/ping">click me</a>
<table background="http://127.0.0.1:{port}/table"><tr><td style="background-image: url(http://127.0.0.1:{port}/td)">cell</td></tr></table>
</body></html>
"""

_HTML_HEADER = "Subject: {subject}\nMIME-Version: 1.0\nContent-Type: text/html; charset=utf-8\n\n"


def nested(depth: int) -> str:
    """Return a message of multiparts, one in the other."""
    lines = ["Subject: deep", "MIME-Version: 1.0"]
    for level in range(depth):
        lines += [f'Content-Type: multipart/mixed; boundary="b{level}"', "", f"--b{level}"]
    lines += ["Content-Type: text/plain", "", "at the bottom"]
    lines += [f"--b{level}--" for level in reversed(range(depth))]
    return "\n".join(lines) + "\n"


CORPUS = MappingProxyType(
    {
        "html": _HTML_HEADER.format(subject="html") + _HTML,
        "script in the subject": "Subject: <script>alert(1)</script>\nFrom: <img src=x onerror=alert(1)>\n\n</pre><script>alert(2)</script>\n",
        "encoded script in the subject": "Subject: =?utf-8?b?PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==?=\n\nbody\n",
        "controls": "Subject: a\x1b[31mred\x07 and \u202egnirts\u2066 end\n\n\x1b[2J\x00\x08 body \u202e backwards\n",
        "nested 100 deep": nested(100),
        "nested 2,000 deep": nested(2000),
        "many headers": "Subject: many\n" + "".join(f"X-{n}: {'v' * 60}\n" for n in range(2500)) + "\nbody\n",
        "a long header": f"Subject: {'long ' * 40_000}\n\nbody\n",
        "no header": "\njust a body\n",
        "nothing": "",
        "no boundary": "Subject: x\nContent-Type: multipart/mixed\n\n--\nbody\n",
        "boundary that never comes": "Subject: x\nContent-Type: multipart/mixed; boundary=never\n\nbody\n",
        "broken base64": "Subject: x\nContent-Type: text/plain\nContent-Transfer-Encoding: base64\n\nAAA%%%A=A==B\n",
        "unknown charset": "Subject: x\nContent-Type: text/plain; charset=no-such-set\n\nb\u00f6dy\n",
        "charset that is none": "Subject: x\nContent-Type: text/plain; charset=unicode_escape\n\n\\u202e\\x1b\n",
        "content type with a header of its own": 'Subject: x\nContent-Type: text/html; charset="utf-8\\r\\nX-Evil: 1"\n\n<p>x</p>\n',
        "file names": (
            "Subject: names\nContent-Type: multipart/mixed; boundary=b\n\n"
            '--b\nContent-Type: text/html\nContent-Disposition: attachment; filename="../../etc/pass\u202etxt.exe"\n\n<script>alert(1)</script>\n'
            "--b\nContent-Type: image/svg+xml\nContent-Disposition: attachment; filename*=utf-8''%0d%0aX-Evil%3a%201%22%3b.svg\n\n<svg/>\n"
            '--b\nContent-Disposition: attachment; filename="=?utf-8?q?=3Cscript=3E.txt?="\n\nx\n--b--\n'
        ),
        "many parts": "Subject: parts\nContent-Type: multipart/mixed; boundary=b\n\n"
        + "--b\n\nx\n" * 3000
        + "--b--\n",
        "a message in a message": (
            "Subject: outer\nContent-Type: multipart/digest; boundary=b\n\n--b\nContent-Type: message/rfc822\n\n"
            "Subject: inner <script>alert(1)</script>\n\ninner body\n--b--\n"
        ),
    }
)


def message(name: str, port: int = 9) -> bytes:
    """Return the message *name* as it goes over the wire; remote references point at *port*."""
    text = CORPUS[name]
    if "{port}" in text:
        text = text.format(port=port)
    return text.encode().replace(b"\n", b"\r\n")
