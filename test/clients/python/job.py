"""Exercises each operation of the Python client, in functions that receive the URL of a stream to create.

    python3 job.py <URL prefix of streams> <URL prefix on a server with short waits> <function> ...
"""

import asyncio
import inspect
import itertools
import json
import sys
import traceback
import uuid
from concurrent.futures import ThreadPoolExecutor, as_completed

from durable_streams import (
    AsyncDurableStream,
    DurableStream,
    DurableStreamError,
    RetentionGoneError,
    SeqConflictError,
    StreamExistsError,
    StreamNotFoundError,
    astream,
    stream,
)

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
UNICODE = "é 漢 𝄞"


def raised(error, call):
    """Returns the error of this type that the call raises."""
    try:
        call()
    except error as caught:
        return caught
    raise AssertionError(f"no {error.__name__}")


async def araised(error, awaited):
    try:
        await awaited
    except error as caught:
        return caught
    raise AssertionError(f"no {error.__name__}")


def equal(found, wanted):
    assert found == wanted, f"{found!r} is not {wanted!r}"


def producer(client="p", epoch=0):
    """Producer headers; each request has the next Producer-Seq."""
    counter = itertools.count()
    return {"Producer-Id": client, "Producer-Epoch": str(epoch), "Producer-Seq": lambda: str(next(counter))}


def json_stream(url):
    with DurableStream.create(url, content_type=JSON, ttl_seconds=3600, body=[{"n": 0}]) as handle:
        equal(DurableStream.connect(url).content_type, JSON)
        results = [handle.append({"n": 1, "text": UNICODE})]
        results.append(handle.append([1, [2, None, 1.5]]))
        equal(handle.head().offset, results[-1].next_offset)
        with handle.stream(live=False) as response:
            equal(response.read_json(), [{"n": 0}, {"n": 1, "text": UNICODE}, [1, [2, None, 1.5]]])
            equal(response.up_to_date, True)
        with handle.stream(offset=results[0].next_offset, live=False) as response:
            equal(list(response.iter_json()), [[1, [2, None, 1.5]]])
        with handle.stream(live=False) as response:
            (event,) = response.iter_events()
            equal((len(event.data), event.next_offset, event.up_to_date), (3, results[-1].next_offset, True))
        with stream(url, offset=results[-1].next_offset, live=False) as response:
            equal(response.read_json_batches(), [])
        handle.delete()
        raised(StreamNotFoundError, handle.head)


def text_and_bytes(url):
    with DurableStream.create(f"{url}-text", content_type=TEXT, body=f"{UNICODE}\n") as handle:
        handle.append(" and ")
        handle.append(UNICODE.encode())
        with handle.stream(live=False) as response:
            equal(response.read_text(), f"{UNICODE}\n and {UNICODE}")
        with handle.stream(live=False) as response:
            equal("".join(response.iter_text()), f"{UNICODE}\n and {UNICODE}")
    blob = bytes(range(256)) * 20_000
    with DurableStream.create(f"{url}-bytes", content_type="application/octet-stream") as handle:
        handle.append(blob)
        handle.append(b"\x00")
        # The read takes more than one response.
        with handle.stream(live="auto") as response:
            equal(response.read_bytes(), blob + b"\x00")


def batches(url):
    with DurableStream.create(url, content_type=JSON) as handle, ThreadPoolExecutor(32) as writers:
        results = list(writers.map(handle.append, range(200)))
        equal(len({result.next_offset for result in results}) < 200, True)
        with handle.stream(live=False) as response:
            equal(sorted(response.read_json()), list(range(200)))


def exactly_once(url):
    with DurableStream.create(url, content_type=JSON) as handle:
        first = DurableStream(url, content_type=JSON, headers=producer(), batching=False)
        equal([first.append(n).next_offset[-1] for n in range(3)], ["1", "2", "3"])
        # A producer that lost its responses sends everything again, and nothing is stored twice.
        again = DurableStream(url, content_type=JSON, headers=producer(), batching=False)
        for n in range(5):
            again.append(n)
        heir = DurableStream(url, content_type=JSON, headers=producer(epoch=1), batching=False)
        heir.append("heir")
        equal(raised(DurableStreamError, lambda: again.append("fenced")).status, 403)
        with handle.stream(live=False) as response:
            equal(response.read_json(), [0, 1, 2, 3, 4, "heir"])


def refusals(url):
    raised(StreamNotFoundError, lambda: DurableStream.connect(url))
    raised(StreamNotFoundError, lambda: stream(url))
    raised(StreamNotFoundError, lambda: DurableStream(url, content_type=JSON).append(1))
    with DurableStream.create(url, content_type=JSON) as handle:
        DurableStream.create(url, content_type=JSON)
        raised(StreamExistsError, lambda: DurableStream.create(url, content_type=TEXT))
        handle.append(1, seq="b")
        raised(SeqConflictError, lambda: handle.append(2, seq="a"))
        equal(raised(DurableStreamError, lambda: stream(url, offset="nowhere")).status, 400)
        before = handle.append(3).next_offset
        handle.delete()
        with DurableStream.create(url, content_type=JSON):
            raised(RetentionGoneError, lambda: stream(url, offset=before))


def closing(url):
    """This version of the client has no operation to close a stream."""
    with DurableStream.create(url, content_type=JSON) as handle:
        closer = DurableStream(url, content_type=JSON, headers={"Stream-Closed": "true"})
        tail = closer.append("last").next_offset
        raised(SeqConflictError, lambda: handle.append("too late"))
        with handle.stream(offset="-1", live="sse") as response:
            equal(list(response.iter_json()), ["last"])
            equal((response.offset, response.up_to_date), (tail, True))
        with handle.stream(live=False) as response:
            equal(response.read_json(), ["last"])
            equal(response.headers["stream-closed"], "true")


def follow(url, live):
    with DurableStream.create(url, content_type=JSON, body=[0]) as handle:
        seen = []
        with handle.stream(offset="-1", live=live) as response:
            for item in response.iter_json():
                seen.append(item)
                if item == 5:
                    break
                # The reader has everything that is stored, so the next message arrives live.
                handle.append(item + 1)
        equal(seen, list(range(6)))
        if live == "long-poll":
            # The first long-poll response also contains the append.
            return
        with handle.stream(offset="now", live=live) as response:
            handle.append({"text": f" {UNICODE}\n\n"})
            equal(next(response.iter_json()), {"text": f" {UNICODE}\n\n"})


def long_poll(url):
    follow(url, "long-poll")


def auto(url):
    follow(url, "auto")


def sse(url):
    follow(url, "sse")
    with DurableStream.create(f"{url}-text", content_type=TEXT, body="a\n") as handle:
        with handle.stream(offset="-1", live="sse") as response:
            pieces = response.iter_text()
            equal(next(pieces), "a\n")
            handle.append(f"b\n\n{UNICODE}")
            equal(next(pieces), f"b\n\n{UNICODE}")


def resuming(url, short):
    """Resumes on the other server, which ends each wait soon."""
    with DurableStream.create(short, content_type=JSON) as handle:
        seen, offset = [], "-1"
        for window in range(3):
            handle.append(window)
            with stream(short, offset=offset, live="sse") as response:
                # This reads until the server ends the response.
                seen.extend(response.iter_json())
                offset = response.offset
        equal(seen, [0, 1, 2])
        with stream(short, offset=offset, live="long-poll") as response:
            # The server answered that there are no new messages.
            equal(response.status, 204)
            handle.append(3)
            equal(next(response.iter_json()), 3)


async def async_json_stream(url):
    async with await AsyncDurableStream.create(url, content_type=JSON, body=[0]) as handle:
        appended = await asyncio.gather(*(handle.append({"n": n, "text": UNICODE}) for n in range(1, 100)))
        equal((await handle.head()).offset, max(result.next_offset for result in appended))
        async with handle.stream(live=False) as response:
            first, *rest = await response.read_json()
            equal((first, [item["n"] for item in rest]), (0, list(range(1, 100))))
        async with astream(url, live=False) as response:
            events = [event async for event in response.iter_events()]
            equal((sum(len(event.data) for event in events), events[-1].up_to_date), (100, True))
        await araised(StreamExistsError, AsyncDurableStream.create(url, content_type=TEXT))
        await handle.append(1, seq="b")
        await araised(SeqConflictError, handle.append(2, seq="a"))
        await handle.delete()
        await araised(StreamNotFoundError, handle.head())


async def async_exactly_once(url):
    async with await AsyncDurableStream.create(url, content_type=JSON) as handle:
        for count in (3, 5):
            writer = AsyncDurableStream(url, content_type=JSON, headers=producer(), batching=False)
            for n in range(count):
                await writer.append(n)
        closer = AsyncDurableStream(url, content_type=JSON, headers={"Stream-Closed": "true"})
        await closer.append("last")
        await araised(SeqConflictError, handle.append("too late"))
        async with handle.stream(live=False) as response:
            equal(await response.read_json(), [0, 1, 2, 3, 4, "last"])


async def afollow(url, live):
    async with await AsyncDurableStream.create(url, content_type=JSON, body=[0]) as handle:

        async def read(offset, last, is_writer=False):
            seen = []
            async with handle.stream(offset=offset, live=live) as response:
                async for item in response.iter_json():
                    seen.append(item)
                    if item == last:
                        return seen
                    if is_writer:
                        # The reader has everything that is stored, so the next message arrives live.
                        await handle.append(item + 1)

        equal(await read("-1", 5, is_writer=True), list(range(6)))
        tail = (await handle.head()).offset
        readers = [asyncio.create_task(read(tail, UNICODE)) for _ in range(20)]
        await handle.append(6)
        await handle.append(UNICODE)
        equal(await asyncio.gather(*readers), [[6, UNICODE]] * 20)


async def async_long_poll(url):
    await afollow(url, "long-poll")


async def async_sse(url):
    await afollow(url, "sse")


def run(name, url, short):
    job = globals()[name]
    urls = [f"{origin}/python/{name}-{uuid.uuid4()}" for origin in (url, short)]
    done = job(*urls[: len(inspect.signature(job).parameters)])
    if inspect.isawaitable(done):
        asyncio.run(done)


def main(url, short, *names):
    """Runs these functions concurrently, and prints the result of each as a line of JSON."""
    with ThreadPoolExecutor(4) as threads:
        jobs = {threads.submit(run, name, url, short): name for name in names}
        for job in as_completed(jobs):
            error = job.exception()
            trace = error and "".join(traceback.format_exception(error))
            print(json.dumps({"name": jobs[job], "error": trace}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
