"""The web page of `lexline playground`: its server on this machine, and its files in `static`.

    browser  --HTTP on 127.0.0.1-->  server.py  --signed requests-->  the stack, on AWS or the local cloud

The browser has only the page's own token. Keys and credentials stay in this process, except in the curl
command that the user asks for.
"""
