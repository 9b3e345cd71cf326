//! The conversation with the hub, from its order to the end of the input.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    thread,
    time::Duration,
};

use framehost::source::screen::portal::wire::{ASK, Header, MAX_WORD_BYTES, Order, VERSION, WireError, Word};
use rustix::io::fcntl_dupfd_cloexec;
use tokio::sync::{mpsc, oneshot};

use crate::{
    desktop::{Cast, Refusal},
    stream::{self, Command},
};

/// Asks of the hub that may wait: it sends one at a time.
const MAX_ASKS: usize = 16;

/// How long giving the screen back may take.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(100);

/// Why the program fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the hub's order cannot be understood: {0}")]
    Order(#[from] serde_json::Error),
    #[error("the hub speaks version {got}, this program {VERSION}")]
    Version { got: u8 },
    #[error("the pipes to the hub: {0}")]
    Pipe(#[from] io::Error),
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// Standard output, for records alone.
#[derive(Debug)]
pub(crate) struct Output {
    pipe: File,
}

impl Output {
    /// Takes standard output; what libraries print goes to standard error from now on.
    fn take() -> io::Result<Self> {
        let pipe = File::from(fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?);
        rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
        Ok(Self { pipe })
    }

    /// Writes a record. Waits for the hub to read it.
    pub(crate) fn write(&mut self, header: &Header, body: &[u8]) -> Result<(), Failure> {
        self.pipe.write_all(&header.encode()?)?;
        Ok(self.pipe.write_all(body)?)
    }

    pub(crate) fn say(&mut self, word: &Word) -> Result<(), Failure> {
        let body = serde_json::to_vec(word)?;
        self.write(&Header::Word { len: body.len() }, &body)
    }
}

/// Does what the hub orders, until it says no more.
pub(crate) fn run() -> Result<(), Failure> {
    let mut output = Output::take()?;
    let input = fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).map_err(io::Error::from)?;
    let mut input = BufReader::new(File::from(input));
    let mut line = Vec::new();
    input.by_ref().take(MAX_WORD_BYTES as u64).read_until(b'\n', &mut line)?;
    let order: Order = serde_json::from_slice(&line)?;
    if order.version != VERSION {
        return Err(Failure::Version { got: order.version });
    }
    let asks = listen(input)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(converse(order, asks, &mut output));
    // Nothing that is still under way holds the end up.
    runtime.shutdown_background();
    match done {
        Err(End::Gone) | Ok(()) => Ok(()),
        Err(End::Refused(word)) => output.say(&word),
        Err(End::Failed(failure)) => Err(failure),
    }
}

/// Hands the hub's asks on. Their end is the input's.
fn listen(mut input: BufReader<File>) -> io::Result<mpsc::Receiver<()>> {
    let (tell, asks) = mpsc::channel(MAX_ASKS);
    thread::Builder::new().name("hub".to_owned()).spawn(move || {
        let mut byte = [0];
        while input.read_exact(&mut byte).is_ok() {
            if byte == [ASK] && tell.blocking_send(()).is_err() {
                return;
            }
        }
    })?;
    Ok(asks)
}

/// Why the conversation ends.
enum End {
    /// The hub does not listen any more.
    Gone,
    /// The hub is to be told this.
    Refused(Word),
    Failed(Failure),
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal.into())
    }
}

async fn converse(order: Order, mut asks: mpsc::Receiver<()>, output: &mut Output) -> Result<(), End> {
    // The hub asks for nothing before it has been told the user's answer.
    let mut cast = tokio::select! {
        cast = Cast::negotiate(&order) => cast?,
        _ = asks.recv() => return Err(End::Gone),
    };
    output.say(&Word::Granted { restore_token: cast.take_restore_token() }).map_err(End::Failed)?;
    let result = show(&mut cast, order, &mut asks, output).await;
    // The portal closes it, too, when the connection goes.
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, cast.close()).await;
    result
}

/// Hands pictures on until somebody ends it.
async fn show(cast: &mut Cast, order: Order, asks: &mut mpsc::Receiver<()>, output: &Output) -> Result<(), End> {
    let failed = |error: io::Error| End::Failed(error.into());
    let (commands, receiver) = pipewire::channel::channel();
    let (tell_end, mut ended) = oneshot::channel();
    let (remote, node) = cast.open_remote().await?;
    let output = Output { pipe: output.pipe.try_clone().map_err(failed)? };
    thread::Builder::new()
        .name("pipewire".to_owned())
        .spawn(move || {
            let result = stream::run(remote, node, &order, output, receiver);
            // Nobody listens when the hub has gone first.
            let _ = tell_end.send(result);
        })
        .map_err(failed)?;
    let command = |command| commands.send(command).map_err(|_| End::Gone);
    loop {
        tokio::select! {
            ask = asks.recv() => match ask {
                Some(()) => command(Command::Show)?,
                None => {
                    command(Command::Quit)?;
                    // Its thread may be writing to the hub, which does not read any more.
                    let _ = tokio::time::timeout(CLOSE_TIMEOUT, ended).await;
                    return Err(End::Gone);
                }
            },
            word = cast.lost() => command(Command::Lose(word))?,
            end = &mut ended => return match end {
                Ok(Ok(())) => Err(End::Gone),
                Ok(Err(failure)) => Err(End::Failed(failure)),
                Err(_) => Err(End::Refused(Word::Lost { problem: "the thread of PipeWire has failed".to_owned() })),
            },
        }
    }
}
