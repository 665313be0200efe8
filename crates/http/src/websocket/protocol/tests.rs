use super::super::client::{
    BINARY, CLOSE, CONTINUATION, Deflater, FIN, Inflater, PING, PONG, RSV1, Random, TEXT, compressible, frame,
    read_frames, wire,
};
use super::*;

const LIMIT: usize = 1 << 20;

const DEFLATE: DeflateParameters = DeflateParameters {
    server_no_context_takeover: false,
    client_no_context_takeover: false,
    server_max_window_bits: 12,
};

fn plain() -> Protocol {
    Protocol::new(Settings { max_message_size: LIMIT, deflate: None })
}

fn deflating() -> Protocol {
    Protocol::new(Settings { max_message_size: LIMIT, deflate: Some(DEFLATE) })
}

fn limited(max_message_size: usize) -> Protocol {
    Protocol::new(Settings { max_message_size, deflate: Some(DEFLATE) })
}

fn text(text: &str) -> Event {
    Event::Text(Text::checked(Bytes::copy_from_slice(text.as_bytes())).unwrap())
}

fn binary(payload: &[u8]) -> Event {
    Event::Binary(Bytes::copy_from_slice(payload))
}

fn close(code: Option<u16>, reason: &'static str) -> Event {
    Event::Close { code, reason: Text::checked(Bytes::from_static(reason.as_bytes())).unwrap() }
}

/// All events of `input`, which are to use it up.
fn events(protocol: &mut Protocol, input: &mut BytesMut) -> Result<Vec<Event>, ProtocolError> {
    let mut events = Vec::new();
    while let Some(event) = protocol.receive(input)? {
        events.push(event);
    }
    Ok(events)
}

fn receive(protocol: &mut Protocol, frames: &[Vec<u8>]) -> Result<Vec<Event>, ProtocolError> {
    let mut input = wire(frames);
    let events = events(protocol, &mut input)?;
    assert!(input.is_empty(), "{} bytes are left", input.len());
    Ok(events)
}

/// The code that the connection fails with.
fn failure(mut protocol: Protocol, frames: &[Vec<u8>]) -> u16 {
    receive(&mut protocol, frames).expect_err("a violation").code()
}

#[test]
fn messages_and_control_frames_become_events() {
    let mut protocol = plain();
    let frames = [
        frame(FIN | TEXT, "grüß dich".as_bytes()),
        frame(FIN | BINARY, &[0xff; 300]),
        frame(FIN | TEXT, b""),
        frame(FIN | PING, b"are you there"),
        frame(FIN | PONG, b""),
    ];
    assert_eq!(
        receive(&mut protocol, &frames).unwrap(),
        [
            text("grüß dich"),
            binary(&[0xff; 300]),
            text(""),
            Event::Ping(Bytes::from_static(b"are you there")),
            Event::Pong(Bytes::new()),
        ],
    );
}

#[test]
fn the_fragmented_example_of_the_rfc_is_one_message() {
    let mut protocol = plain();
    assert_eq!(receive(&mut protocol, &[frame(TEXT, b"Hel"), frame(FIN, b"lo")]).unwrap(), [text("Hello")]);
    assert_eq!(receive(&mut protocol, &[frame(FIN | TEXT, b"next")]).unwrap(), [text("next")], "and the next one");
}

#[test]
fn control_frames_come_between_the_parts_of_a_message() {
    let frames = [
        frame(TEXT, b"a"),
        frame(FIN | PING, b"1"),
        frame(CONTINUATION, b""),
        frame(FIN | PING, b"2"),
        frame(FIN | CONTINUATION, b"b"),
    ];
    let ping = |payload| Event::Ping(Bytes::from_static(payload));
    assert_eq!(receive(&mut plain(), &frames).unwrap(), [ping(b"1"), ping(b"2"), text("ab")]);
}

#[test]
fn a_stream_may_be_cut_at_every_byte() {
    let mut deflater = Deflater::new();
    let long = "lang und länger ".repeat(30);
    let compressed = deflater.compress(long.as_bytes());
    let (head, tail) = compressed.split_at(7);
    let stream = wire(&[
        frame(FIN | TEXT, "€uro".as_bytes()),
        frame(BINARY, b"one"),
        frame(FIN | PING, b"ping"),
        frame(FIN | CONTINUATION, b"two"),
        frame(FIN | BINARY, &[7; 200]),
        frame(FIN | RSV1 | BINARY, &deflater.compress(b"compressed")),
        frame(RSV1 | TEXT, head),
        frame(FIN | PONG, b"pong"),
        frame(FIN, tail),
        frame(FIN | CLOSE, b"\x03\xe8bye"),
    ]);
    let expected = [
        text("€uro"),
        Event::Ping(Bytes::from_static(b"ping")),
        binary(b"onetwo"),
        binary(&[7; 200]),
        binary(b"compressed"),
        Event::Pong(Bytes::from_static(b"pong")),
        text(&long),
        close(Some(1000), "bye"),
    ];
    for cut in 0..=stream.len() {
        let mut protocol = deflating();
        let mut input = BytesMut::from(&stream[..cut]);
        let mut received = events(&mut protocol, &mut input).unwrap();
        input.extend_from_slice(&stream[cut..]);
        received.extend(events(&mut protocol, &mut input).unwrap());
        assert_eq!(received, expected, "cut at {cut}");
    }
    let mut protocol = deflating();
    let mut input = BytesMut::new();
    let mut received = Vec::new();
    for byte in stream {
        input.extend_from_slice(&[byte]);
        received.extend(events(&mut protocol, &mut input).unwrap());
    }
    assert_eq!(received, expected, "byte by byte");
}

#[test]
fn random_messages_survive_random_frames_and_reads() {
    for seed in 0..150 {
        let mut random = Random::new(seed);
        let mut deflater = Deflater::new();
        let mut stream = Vec::new();
        let mut expected = Vec::new();
        for _ in 0..10 {
            let length = [3, 200, 5000][random.below(3)];
            let length = random.below(length);
            let (opcode, payload) = if random.below(2) == 0 {
                let message = random.text(length);
                expected.push(text(&message));
                (TEXT, message.into_bytes())
            } else {
                let message = compressible(&mut random, length);
                expected.push(binary(&message));
                (BINARY, message)
            };
            let compressed = random.below(2) == 0;
            let payload = if compressed { deflater.compress(&payload) } else { payload };
            let parts = random.cut(&payload);
            for (i, part) in parts.iter().enumerate() {
                let opcode = if i > 0 { CONTINUATION } else { opcode | if compressed { RSV1 } else { 0 } };
                let fin = if i == parts.len() - 1 { FIN } else { 0 };
                stream.extend(frame(fin | opcode, part));
                if fin == 0 && random.below(10) == 0 {
                    stream.extend(frame(FIN | PONG, b"in between"));
                }
            }
        }
        let mut protocol = deflating();
        let mut input = BytesMut::new();
        let mut received = Vec::new();
        for read in random.cut(&stream) {
            input.extend_from_slice(read);
            received.extend(events(&mut protocol, &mut input).unwrap());
        }
        received.retain(|event| !matches!(event, Event::Pong(_)));
        assert!(received == expected, "seed {seed}");
        assert!(input.is_empty() && protocol.missing() == 0);
    }
}

#[test]
fn nonsense_has_the_same_outcome_however_it_is_cut() {
    let mut failures = 0;
    for seed in 0..2000 {
        let mut random = Random::new(seed);
        let mut stream = Vec::new();
        for _ in 0..random.below(6) {
            // Mostly sensible first bytes, so that what follows them is reached.
            let first = [FIN, 0][random.below(10) / 8] | [TEXT, TEXT, BINARY, PING, CONTINUATION][random.below(10) / 2];
            let first = if random.below(20) == 0 { FIN | CLOSE } else { first };
            let first = if random.below(10) == 0 { first ^ (1 << random.below(8)) } else { first };
            let length = random.below(40);
            let payload =
                if random.below(8) == 0 { random.bytes(length) } else { random.text(length / 3).into_bytes() };
            stream.extend(frame(first, &payload));
        }
        let garbage = random.below(20) / 16;
        stream.extend(random.bytes(garbage * 4));

        let outcome = |reads: &[&[u8]]| {
            let mut protocol = limited(50);
            let (mut input, mut received, mut failed) = (BytesMut::new(), Vec::new(), false);
            for read in reads {
                input.extend_from_slice(read);
                loop {
                    match protocol.receive(&mut input) {
                        Ok(Some(event)) => received.push(event),
                        Ok(None) => break,
                        Err(_) => failed = true,
                    }
                }
            }
            (received, failed)
        };
        let whole = outcome(&[&stream]);
        assert_eq!(outcome(&random.cut(&stream)), whole, "seed {seed}");
        assert_eq!(outcome(&stream.chunks(1).collect::<Vec<_>>()), whole, "seed {seed}");
        failures += usize::from(whole.1);
    }
    assert!((500..1500).contains(&failures), "the streams are to reach far, and to fail: {failures}");
}

#[test]
fn frames_out_of_order_are_violations() {
    assert_eq!(failure(plain(), &[frame(FIN | CONTINUATION, b"")]), 1002);
    assert_eq!(failure(plain(), &[frame(CONTINUATION, b"")]), 1002);
    assert_eq!(failure(plain(), &[frame(TEXT, b""), frame(FIN | TEXT, b"")]), 1002);
    assert_eq!(failure(plain(), &[frame(BINARY, b""), frame(FIN, b""), frame(FIN, b"")]), 1002);
    assert_eq!(failure(plain(), &[frame(RSV1 | FIN | TEXT, b"")]), 1002, "compressed, which was not agreed on");
    assert_eq!(failure(deflating(), &[frame(RSV1 | TEXT, b""), frame(RSV1 | FIN, b"")]), 1002);
    assert_eq!(failure(deflating(), &[frame(TEXT, b""), frame(RSV1 | FIN, b"")]), 1002);
    assert_eq!(failure(plain(), &[vec![0x81, 5, b'H', b'e', b'l', b'l', b'o']]), 1002, "not masked");
}

#[test]
fn text_that_is_not_utf_8_fails_before_its_frame_is_complete() {
    let mut protocol = plain();
    let whole = frame(FIN | TEXT, b"abc\xff and more");
    let mut input = BytesMut::from(&whole[..whole.len() - 9]);
    assert_eq!(protocol.receive(&mut input).unwrap_err().code(), 1007);

    let part = frame(TEXT, b"abc\xed\xa0");
    let mut protocol = plain();
    let mut input = BytesMut::from(&part[..part.len() - 1]);
    assert_eq!(protocol.receive(&mut input), Ok(None), "so far it could be text");
    input.extend_from_slice(&part[part.len() - 1..]);
    assert_eq!(protocol.receive(&mut input).unwrap_err().code(), 1007, "a surrogate");

    let compressed = Deflater::new().compress(b"abc\xff");
    assert_eq!(failure(deflating(), &[frame(RSV1 | TEXT, &compressed)]), 1007);
}

#[test]
fn text_may_not_end_within_a_character() {
    let euro = "€".as_bytes();
    assert_eq!(failure(plain(), &[frame(FIN | TEXT, &euro[..2])]), 1007);
    assert_eq!(failure(plain(), &[frame(TEXT, &euro[..1]), frame(FIN, &euro[1..2])]), 1007);
    assert_eq!(failure(deflating(), &[frame(FIN | RSV1 | TEXT, &Deflater::new().compress(&euro[..2]))]), 1007);
    let whole = frame(FIN | TEXT, &euro[..2]);
    let mut protocol = plain();
    let mut input = BytesMut::from(&whole[..whole.len() - 1]);
    assert_eq!(protocol.receive(&mut input), Ok(None));
    input.extend_from_slice(&whole[whole.len() - 1..]);
    assert_eq!(protocol.receive(&mut input).unwrap_err().code(), 1007, "in two reads");
}

#[test]
fn a_message_beyond_the_limit_fails_from_its_head() {
    for (first, length) in [(FIN | BINARY, 101), (BINARY, 101), (FIN | TEXT, 70_000)] {
        let mut input = BytesMut::from(&frame(first, &vec![b'a'; length])[..14]);
        assert_eq!(limited(100).receive(&mut input).unwrap_err().code(), 1009, "{first:x} {length}");
    }
    let parts = [frame(BINARY, &[0; 60]), frame(FIN, &[0; 41])];
    let mut input = BytesMut::from(&parts.concat()[..66 + 6]);
    assert_eq!(limited(100).receive(&mut input).unwrap_err().code(), 1009, "two parts");
    let mut huge = BytesMut::from([0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4].as_slice());
    assert_eq!(limited(usize::MAX >> 1).receive(&mut huge.clone()).is_err(), usize::BITS < 64);
    assert_eq!(limited(100).receive(&mut huge).unwrap_err().code(), 1009);
}

#[test]
fn a_message_at_the_limit_is_received() {
    let frames = [frame(FIN | BINARY, &[0; 100]), frame(BINARY, &[0; 60]), frame(FIN, &[0; 40])];
    assert_eq!(receive(&mut limited(100), &frames).unwrap(), [binary(&[0; 100]), binary(&[0; 100])]);
    let exact = Deflater::new().compress(&[0; 100]);
    assert_eq!(receive(&mut limited(100), &[frame(FIN | RSV1 | BINARY, &exact)]).unwrap(), [binary(&[0; 100])]);
}

#[test]
fn a_compressed_message_is_limited_by_what_it_inflates_to() {
    let bomb = Deflater::new().compress(&vec![0; 1 << 20]);
    assert_eq!(failure(limited(1 << 16), &[frame(FIN | RSV1 | BINARY, &bomb)]), 1009);
    let over = Deflater::new().compress(&[0; 101]);
    assert_eq!(failure(limited(100), &[frame(FIN | RSV1 | BINARY, &over)]), 1009);
    // Random bytes grow a little; what counts is what they were.
    let bytes = Random::new(5).bytes(1000);
    let grown = Deflater::new().compress(&bytes);
    assert!(grown.len() > 1000);
    assert_eq!(receive(&mut limited(1000), &[frame(FIN | RSV1 | BINARY, &grown)]).unwrap(), [binary(&bytes)]);
}

#[test]
fn a_compressed_message_of_nothing_is_empty() {
    let frames =
        [frame(FIN | RSV1 | TEXT, &[0]), frame(RSV1 | BINARY, b""), frame(FIN, &[0]), frame(FIN | RSV1 | TEXT, b"")];
    assert_eq!(receive(&mut deflating(), &frames).unwrap(), [text(""), binary(b""), text("")]);
}

#[test]
fn close_frames_are_read_as_the_rfc_says() {
    for (payload, expected) in [
        (&b""[..], close(None, "")),
        (b"\x03\xe8", close(Some(1000), "")),
        (b"\x03\xe9going", close(Some(1001), "going")),
        (b"\x13\x87", close(Some(4999), "")),
    ] {
        let mut protocol = plain();
        assert_eq!(receive(&mut protocol, &[frame(FIN | CLOSE, payload)]).unwrap(), [expected]);
        assert!(protocol.close_received() && protocol.is_closing() && !protocol.is_closed());
    }
    for (payload, code) in [
        (&b"\x03"[..], 1002),
        (b"\x03\xed", 1002),
        (b"\x03\xee", 1002),
        (b"\x03\xf7", 1002),
        (b"\x00\x00", 1002),
        (b"\x13\x88", 1002),
        (b"\x03\xe8\xff", 1007),
    ] {
        assert_eq!(failure(plain(), &[frame(FIN | CLOSE, payload)]), code, "{payload:?}");
    }
}

#[test]
fn nothing_is_read_after_a_close_frame_or_a_violation() {
    let mut protocol = plain();
    let frames = [frame(FIN | CLOSE, b""), frame(FIN | PING, b""), vec![0xff; 20]];
    assert_eq!(receive(&mut protocol, &frames).unwrap(), [close(None, "")]);
    assert_eq!(receive(&mut protocol, &[frame(FIN | PING, b"")]).unwrap(), []);

    let mut protocol = plain();
    let mut input = wire(&[vec![0xff; 20], frame(FIN | PING, b"")]);
    assert_eq!(protocol.receive(&mut input).unwrap_err().code(), 1002);
    assert_eq!(protocol.receive(&mut input), Ok(None));
    assert!(input.is_empty() && protocol.is_closing() && !protocol.is_closed());
    protocol.send_close(Some(1002), "", &mut BytesMut::new());
    assert!(protocol.is_closed());
}

#[test]
fn a_close_frame_within_a_message_ends_it() {
    let frames = [frame(TEXT, b"begun"), frame(FIN | CLOSE, b"\x03\xe8")];
    assert_eq!(receive(&mut plain(), &frames).unwrap(), [close(Some(1000), "")]);
}

#[test]
fn a_whole_message_is_not_copied() {
    let mut input = wire(&[frame(FIN | BINARY, &[1; 1000]), frame(FIN | TEXT, &[b'x'; 1000])]);
    let memory = input.as_ptr_range();
    for event in events(&mut plain(), &mut input).unwrap() {
        let payload = match event {
            Event::Binary(payload) => payload,
            Event::Text(text) => Bytes::from(text),
            other => panic!("{other:?}"),
        };
        assert!(memory.contains(&payload.as_ptr()));
    }
}

#[test]
fn missing_bytes_are_told_once_the_head_is_known() {
    let message = frame(FIN | BINARY, &[0; 1000]);
    let mut protocol = plain();
    let mut input = BytesMut::from(&message[..3]);
    assert_eq!((protocol.receive(&mut input), protocol.missing()), (Ok(None), 0));
    input.extend_from_slice(&message[3..208]);
    assert_eq!((protocol.receive(&mut input), protocol.missing()), (Ok(None), 800));
    input.extend_from_slice(&message[208..]);
    assert_eq!(protocol.receive(&mut input).unwrap(), Some(binary(&[0; 1000])));
    assert_eq!(protocol.missing(), 0);
}

#[test]
fn messages_are_sent_in_one_frame() {
    let mut protocol = plain();
    let mut out = BytesMut::new();
    protocol.send_text("Hello", &mut out);
    assert_eq!(out, [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f].as_slice(), "the example of the RFC");
    protocol.send_binary(&[1; 256], &mut out);
    protocol.send_binary(&[2; 65536], &mut out);
    protocol.send_ping(b"p", &mut out);
    protocol.send_pong(&[3; 200], &mut out);
    let expected = [
        (0x81, b"Hello".to_vec()),
        (0x82, vec![1; 256]),
        (0x82, vec![2; 65536]),
        (0x89, b"p".to_vec()),
        (0x8a, vec![3; 125]),
    ];
    assert!(read_frames(&out) == expected);
}

#[test]
fn a_head_may_be_sent_without_its_payload() {
    let mut protocol = plain();
    let (mut whole, mut head) = (BytesMut::new(), BytesMut::new());
    protocol.send_text(&"x".repeat(70_000), &mut whole);
    assert!(protocol.send_head(Kind::Text, 70_000, &mut head));
    assert_eq!(head, whole[..whole.len() - 70_000]);
}

#[test]
fn messages_are_compressed_when_it_was_agreed_on_and_pays() {
    let mut protocol = deflating();
    let mut client = Inflater::new();
    let mut out = BytesMut::new();
    let messages = ["{\"value\": 1}, ".repeat(20), "short".to_owned(), "{\"value\": 1}, ".repeat(5000), "ñ".repeat(64)];
    for message in &messages {
        protocol.send_text(message, &mut out);
    }
    let frames = read_frames(&out);
    assert_eq!(frames.iter().map(|(first, _)| *first).collect::<Vec<_>>(), [0xc1, 0x81, 0xc1, 0xc1]);
    for ((first, payload), message) in frames.iter().zip(&messages) {
        assert_eq!(protocol.compresses(message.len()), first & RSV1 != 0);
        let payload = if first & RSV1 == 0 { payload.clone() } else { client.inflate(payload, message.len()) };
        assert!(payload == message.as_bytes());
    }
    assert!(out.len() < 1000);
    assert!(!plain().compresses(1 << 20));
}

#[test]
fn a_close_frame_is_sent_once_and_ends_all_sending() {
    let mut protocol = plain();
    let mut out = BytesMut::new();
    protocol.send_close(Some(1001), "bye", &mut out);
    assert!(protocol.close_sent() && protocol.is_closing() && !protocol.is_closed());
    protocol.send_close(Some(1000), "", &mut out);
    protocol.send_text("late", &mut out);
    protocol.send_ping(b"", &mut out);
    assert!(!protocol.send_head(Kind::Binary, 3, &mut out));
    assert_eq!(read_frames(&out), [(0x88, b"\x03\xe9bye".to_vec())]);
    assert_eq!(receive(&mut protocol, &[frame(FIN | TEXT, b"still read")]).unwrap(), [text("still read")]);
    receive(&mut protocol, &[frame(FIN | CLOSE, b"\x03\xe9")]).unwrap();
    assert!(protocol.is_closed());
}

#[test]
fn close_frames_are_sent_within_the_rules() {
    for (code, reason, expected) in [
        (None, "ignored", b"".to_vec()),
        (Some(1005), "ignored", b"".to_vec()),
        (Some(999), "ignored", b"".to_vec()),
        (Some(1000), "", b"\x03\xe8".to_vec()),
        (Some(4000), "ñ".repeat(70).as_str(), [b"\x0f\xa0", "ñ".repeat(61).as_bytes()].concat()),
    ] {
        let mut out = BytesMut::new();
        plain().send_close(code, reason, &mut out);
        assert_eq!(read_frames(&out), [(0x88, expected)], "{code:?}");
    }
}
