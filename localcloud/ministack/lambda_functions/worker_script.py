"""Changes to the script in which MiniStack runs a Python function.

- AWS: an environment ends with its machine. MiniStack: a worker reads nothing while its handler runs, so it
  does not notice that the server was killed. Here: a thread ends the worker with the server.
- AWS: an error contains the exception's class and the frames from the handler on. MiniStack: it contains the
  message alone. Here: the response contains a `failure` with all of them.
- AWS: the environment of a handler that raised takes the next invocation. MiniStack: it ends a worker whose
  status is "error". Here: the status is "ok", and `failures` changes the response into an error after
  MiniStack has kept the worker.
- AWS: every line of an invocation is in its log. MiniStack: it guesses when the last line has come. Here: a
  mark ends the lines of each invocation (see `log_lines`).

This module is text only and imports nothing of MiniStack's.
"""

END_OF_INVOCATION = "\x1fend of invocation"
"""The mark, alone in a line or after the text of a line that the handler did not end."""

SCRIPT_CHANGES = (
    # The thread waits for the hang-up of standard input. A poll(2) for no event does not consume the data,
    # and always reports a hang-up.
    (
        "import sys, json, importlib, traceback, os, time\n",
        """import sys, json, importlib, traceback, os, time, select, threading

def _end_with_server():
    server = select.poll()
    server.register(0, 0)
    server.poll()
    os._exit(1)

threading.Thread(target=_end_with_server, daemon=True).start()
""",
    ),
    # The handler raised an exception.
    (
        """        except Exception as e:
            _real_stdout.write(json.dumps({"status": "error", "error": str(e), "trace": traceback.format_exc()})""",  # noqa: E501
        """        except Exception as e:
            _ms_frames = traceback.format_list(traceback.extract_tb(e.__traceback__)[1:])
            _ms_trace = traceback.format_exc()
            _real_stdout.write(json.dumps({"status": "ok", "error": str(e), "trace": _ms_trace,
                "failure": {"errorMessage": str(e), "errorType": type(e).__name__,
                            "requestId": context.aws_request_id, "stackTrace": _ms_frames}})""",
    ),
    # The function's module cannot be imported.
    (
        """    except Exception as e:
        _real_stdout.write(json.dumps({"status": "error", "error": str(e)})""",
        """    except Exception as e:
        _real_stdout.write(json.dumps({"status": "error", "error": json.dumps(
            {"class": type(e).__name__, "import": isinstance(e, ImportError), "message": str(e),
             "module": module_name, "trace": traceback.format_exc()})})""",
    ),
    # The invocation is over. The handler may have replaced sys.stderr.
    (
        "        _real_stdout.flush()\n\nrun()\n",
        f"        _real_stdout.flush()\n        print({END_OF_INVOCATION!r}, file=sys.__stderr__, flush=True)\n\nrun()\n",  # noqa: E501
    ),
)
"""(text that MiniStack's script contains once, replacement)."""
