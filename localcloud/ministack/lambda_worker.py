"""Edits to the script that MiniStack runs a Python function in.

What they are for:

- On AWS an environment ends with the machine under it. MiniStack's worker that is in its handler reads
  nothing, and would not notice that the server was killed.
- AWS reports an exception by its class, with the frames from the handler on; MiniStack by its message alone.
- On AWS an environment whose handler raised stays as it is and takes the next call. MiniStack ends a worker
  that answers "error"; it is therefore to answer "ok" with a `failure`, out of which
  `localcloud.ministack.lambda_failures` makes an error again once MiniStack has kept the worker.

This module is text only: it imports nothing of MiniStack's.
"""

SCRIPT_MENDS = (
    # A thread watches standard input for the hang-up. Asking poll(2) for no event leaves the data alone; a
    # hang-up is always reported.
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
    # The handler's exception.
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
    # A module that cannot be imported.
    (
        """    except Exception as e:
        _real_stdout.write(json.dumps({"status": "error", "error": str(e)})""",
        """    except Exception as e:
        _real_stdout.write(json.dumps({"status": "error", "error": json.dumps(
            {"class": type(e).__name__, "import": isinstance(e, ImportError), "message": str(e),
             "module": module_name, "trace": traceback.format_exc()})})""",
    ),
)
"""(what MiniStack's script says once, what it is to say instead)."""
