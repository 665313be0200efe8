//! Masking (RFC 6455 section 5.3): what a client sends is xor-ed with four bytes of its choice, over and over.

/// A frame's masking key, turned to the next byte of the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mask([u8; 4]);

impl Mask {
    pub(super) fn new(key: [u8; 4]) -> Mask {
        Mask(key)
    }

    /// Masks or unmasks the next bytes of a payload, in place. A payload may come in any number of parts.
    pub(super) fn apply(&mut self, payload: &mut [u8]) {
        // Sixteen bytes at a time as one number: plain code that compiles to vector instructions.
        let narrow = u32::from_ne_bytes(self.0);
        let wide = u128::from_ne_bytes(std::array::from_fn(|i| self.0[i % 4]));
        let mut blocks = payload.chunks_exact_mut(16);
        for block in &mut blocks {
            let bytes: [u8; 16] = (&*block).try_into().expect("a block is 16 bytes");
            block.copy_from_slice(&(u128::from_ne_bytes(bytes) ^ wide).to_ne_bytes());
        }
        let mut words = blocks.into_remainder().chunks_exact_mut(4);
        for word in &mut words {
            let bytes: [u8; 4] = (&*word).try_into().expect("a word is 4 bytes");
            word.copy_from_slice(&(u32::from_ne_bytes(bytes) ^ narrow).to_ne_bytes());
        }
        let last = words.into_remainder();
        for (byte, key) in last.iter_mut().zip(self.0) {
            *byte ^= key;
        }
        self.0.rotate_left(last.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    fn byte_by_byte(payload: &[u8]) -> Vec<u8> {
        payload.iter().enumerate().map(|(i, byte)| byte ^ KEY[i % 4]).collect()
    }

    #[test]
    fn the_example_of_the_rfc_unmasks() {
        let mut payload = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        Mask::new(KEY).apply(&mut payload);
        assert_eq!(&payload, b"Hello");
    }

    #[test]
    fn every_length_is_masked_as_byte_by_byte() {
        let plain: Vec<u8> = (0..100).collect();
        for length in 0..plain.len() {
            let mut payload = plain[..length].to_vec();
            Mask::new(KEY).apply(&mut payload);
            assert_eq!(payload, byte_by_byte(&plain[..length]), "{length} bytes");
        }
    }

    #[test]
    fn a_payload_may_be_cut_anywhere() {
        let plain: Vec<u8> = (0..60).collect();
        for first in 0..plain.len() {
            for second in first..plain.len() {
                let mut payload = plain.clone();
                let mut mask = Mask::new(KEY);
                mask.apply(&mut payload[..first]);
                mask.apply(&mut payload[first..second]);
                mask.apply(&mut payload[second..]);
                assert_eq!(payload, byte_by_byte(&plain), "cut at {first} and {second}");
            }
        }
    }
}
