//! A stream that can be ended from outside. fe2o3-amqp waits busily for the peer's answer when a session of its is
//! dropped; with the stream at its end first, there is nobody left to wait for.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use isotherm_host::BoxStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Ends the stream it belongs to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cord(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    cut: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Cord {
    /// From now on the stream is at its end.
    pub(crate) fn cut(&self) {
        let mut state = self.lock();
        state.cut = true;
        let wakers = [state.reader.take(), state.writer.take()];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics while it holds the cord")
    }
}

/// A stream that hangs on a [`Cord`].
#[derive(Debug)]
pub(crate) struct Corded {
    stream: BoxStream,
    cord: Cord,
}

impl Corded {
    pub(crate) fn new(stream: BoxStream) -> (Self, Cord) {
        let cord = Cord::default();
        (Self { stream, cord: cord.clone() }, cord)
    }

    /// Whether a write may still be made; keeps the waker if so.
    fn writable(&self, cx: &Context<'_>) -> io::Result<()> {
        let mut state = self.cord.lock();
        state.writer = Some(cx.waker().clone());
        if state.cut { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }
}

impl AsyncRead for Corded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.cord.lock();
        if state.cut {
            return Poll::Ready(Ok(()));
        }
        state.reader = Some(cx.waker().clone());
        drop(state);
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Corded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writable(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writable(cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writable(cx)?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn a_stream_that_is_cut_is_at_its_end_for_who_waits_on_it() {
        let (ours, _theirs) = duplex(1);
        let (mut corded, cord) = Corded::new(Box::new(ours));
        corded.write_all(b"1").await.unwrap();
        let waiting = tokio::spawn(async move {
            let read = corded.read_u8().await.unwrap_err().kind();
            (read, corded.write_all(b"2").await.unwrap_err().kind())
        });
        tokio::task::yield_now().await;
        cord.cut();
        assert_eq!(waiting.await.unwrap(), (io::ErrorKind::UnexpectedEof, io::ErrorKind::BrokenPipe));
    }
}
